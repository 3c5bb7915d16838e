"""What the tests of zsseg and SCAN share: a stage's config, and a picture on its way through a model with it."""

import formulas_zsseg as plain
import numpy as np
import torch
from mmseg.structures import SegDataSample
from stub_regions import StubRegions
from torch import Tensor

SIZE = (40, 48)
SCALE = 40.0


def stage(kind: str = "ZSSeg", provider: type = StubRegions, given: dict | None = None, **settings: object) -> dict:
    return dict(type=kind, regions=dict(type=provider, **(given or {})), **settings)


def original(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    """uint8 BGR."""
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Seen:
    """A picture on its way through a model."""

    def __init__(self, model, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
        self.model, self.pixels = model, original(seed, size)
        model.prepare()
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        sample.set_data(dict(original=self.pixels))
        with torch.no_grad():
            (self.picture,) = model.look([model.data_preprocessor.prepared(self.pixels)], [sample])
            self.before = model.backbone.tail.read(self.picture).maps(size).dense()
            self.after = model.score(self.picture).dense()

    @property
    def image(self) -> np.ndarray:
        """Normalised, float64."""
        mean, std = (
            np.array(values).reshape(3, 1, 1) for values in (self.model.backbone.mean, self.model.backbone.std)
        )
        return (self.pixels.flip(0).double().numpy() / 255 - mean) / std

    def feature(self, mask: np.ndarray, ratio: float = 0.0, blocks: tuple[int, ...] = ()) -> np.ndarray:
        """By the formulas."""
        return plain.feature(self.image, mask, self.model.backbone.clip.visual, ratio, blocks)

    @property
    def text(self) -> np.ndarray:
        return self.picture.text.features.double().numpy()


def close(found: Tensor, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=tolerance)
