"""Samples of a picture: what a method makes of its patches, or of its regions, and how many pixels each stands for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import InputError
from ...regions.provider import RegionProvider
from ...regions.regions import VOID
from ..picture import Scores
from ..scores import DenseMaps, StitchedMaps
from ..segmentor import OpenVocabSegmentor

NEUTRAL = "thing"  # a single word tells no class from another, also to methods with feedback


@dataclass(frozen=True)
class Samples:
    """Unit features (M, D) and areas (M,) in pixels, on the CPU."""

    features: Tensor
    area: Tensor

    @classmethod
    def joined(cls, parts: Iterable[Samples]) -> Samples:
        """All of several pictures."""
        parts = list(parts)
        return cls(torch.cat([part.features for part in parts]), torch.cat([part.area for part in parts]))

    def thinned(self, most: int) -> Samples:
        """At most so many, evenly taken; their areas stand for all."""
        if len(self.area) <= most:
            return self
        kept = torch.linspace(0, len(self.area) - 1, most).round().long()
        return Samples(self.features[kept], self.area[kept] * (self.area.sum() / self.area[kept].sum()))


def neutral(model: OpenVocabSegmentor) -> None:
    """Gives a model one word, in place of words that are not known yet."""
    model.set_vocabulary([[NEUTRAL]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a word that nobody typed
        model.prepare()


@torch.no_grad()
def samples_of(
    model: OpenVocabSegmentor, image: Tensor, sample: SegDataSample, provider: RegionProvider | None = None
) -> Samples:
    """Of a normalised picture (3, h, w): one for each patch, windows averaged as their scores are; or for each region.

    The model has words (`neutral`), for methods with feedback. Raises InputError for a method without features
    of patches.
    """
    height, width = size = tuple(sample.get("ori_shape", image.shape[1:]))
    if provider is None:
        grid = tuple(max(1, side // model.backbone.patch) for side in image.shape[1:])
        cells = F.normalize(feature_maps(model, image, grid).dense().flatten(1).T, dim=1)
        return Samples(cells.cpu(), torch.full((len(cells),), height * width / len(cells)))
    if sample.get("original") is None:
        raise InputError("regions are found in the picture at its full size, which this method's pipeline lacks")
    pixels = sample.get("original").permute(1, 2, 0).cpu().numpy()[:, :, ::-1].copy()
    ids = provider(pixels).hard().ids.to(image.device)
    numbers, place = ids.unique(return_inverse=True)
    real = (numbers != VOID).cpu()
    features = means_over(feature_maps(model, image, size), place, len(numbers)).cpu()
    area = place.flatten().bincount(minlength=len(numbers)).cpu().float()
    return Samples(features[real], area[real])


def feature_maps(model: OpenVocabSegmentor, image: Tensor, size: tuple[int, int]) -> StitchedMaps | DenseMaps:
    """The method's unit features at `size`, (D, H, W), stitched as scores are: a cosine with them is a score there."""
    fitted = model.fitted(image)
    plan = model.windows_over(tuple(fitted.shape[1:]))
    try:
        tiles = [
            F.normalize(model.backbone.keep(batch, model.text, features=True)["features"].float(), dim=1)
            for batch in plan.batches([fitted], model.window["batch"])
        ]
    except NotImplementedError as error:
        kind = type(model.backbone.tail).__name__
        raise InputError(f"{kind} has no features of patches, in which words could be found") from error
    return Scores(torch.cat(tiles), plan).maps(size)


def means_over(maps: StitchedMaps | DenseMaps, place: Tensor, count: int) -> Tensor:
    """Unit means (count, D) of maps (D, H, W) over the pixels of each place (H, W)."""
    sums = torch.zeros(count, maps.shape[0], device=place.device)
    for band, features in maps.bands(1.0):
        sums.index_add_(0, place[band].flatten(), features.flatten(1).T)
    return F.normalize(sums / place.flatten().bincount(minlength=count)[:, None], dim=1)
