"""Regions by colour alone, without weights: scikit-image's graph-based segmentation and its superpixels."""

import numpy as np
import torch

from ..errors import InputError
from ..registry import REGIONS
from ..settings import Count, NonNegative, Positive
from .provider import FOLDER, RegionProvider
from .regions import Regions


class Classical(RegionProvider):
    """What the two share: the library, whose release moves what is found."""

    def __init__(self, folder: str | None = FOLDER, **settings: object) -> None:
        super().__init__(folder, **settings)
        self.release = _scikit_image(self.name)

    @property
    def digest(self) -> str:
        return f"skimage-{self.release}"


@REGIONS.register_module(name="felzenszwalb")
class Felzenszwalb(Classical):
    """Felzenszwalb and Huttenlocher (IJCV 2004): a graph of pixels, merged where a border is no stronger than inside.

    Args:
        scale: how large regions are preferred.
        sigma: of the Gauss filter before.
        min_size: least pixels of a region.
    """

    def __init__(
        self, scale: Positive = 100.0, sigma: NonNegative = 0.8, min_size: Count = 50, folder: str | None = FOLDER
    ) -> None:
        super().__init__(folder, scale=scale, sigma=sigma, min_size=min_size)

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        from skimage.segmentation import felzenszwalb

        return Regions(torch.from_numpy(felzenszwalb(picture, channel_axis=-1, **self.settings).astype(np.int32)))


@REGIONS.register_module(name="slic")
class Slic(Classical):
    """SLIC (Achanta et al., PAMI 2012): superpixels, k-means in CIE Lab and place.

    Args:
        segments: about how many.
        compactness: weight of place beside colour.
    """

    def __init__(self, segments: Count = 200, compactness: Positive = 10.0, folder: str | None = FOLDER) -> None:
        super().__init__(folder, segments=segments, compactness=compactness)

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        from skimage.segmentation import slic

        options = dict(n_segments=self.settings["segments"], compactness=self.settings["compactness"])
        return Regions(torch.from_numpy(slic(picture, start_label=0, channel_axis=-1, **options).astype(np.int32)))


def _scikit_image(name: str) -> str:
    """Its release."""
    try:
        import skimage
    except ImportError as error:
        raise InputError(f"regions by {name} need scikit-image: pip install .[regions]") from error
    return skimage.__version__
