"""Regions that are given, or drawn in rectangles from a seed, so that the formulas have some."""

import numpy as np
import torch
from torch import Tensor

from sclip_seg.regions.provider import RegionProvider
from sclip_seg.regions.regions import VOID, Regions


def rectangles(height: int, width: int, count: int = 6, seed: int = 0, void: bool = True) -> Tensor:
    """(H, W) int32: rectangles 0 .. count - 1 painted over void, or over region 0."""
    generator = np.random.default_rng(seed)
    ids = np.full((height, width), VOID if void else 0, np.int32)
    for number in range(0 if void else 1, count):
        top, left = generator.integers(0, height), generator.integers(0, width)
        ids[top : top + height // 2, left : left + width // 2] = number
    return torch.from_numpy(ids)


class StubRegions(RegionProvider):
    """Rectangles by the picture's size; `asked` counts the pictures that it was asked about."""

    keeps = False

    def __init__(self, count: int = 6, seed: int = 0, void: bool = True, off: int = 0) -> None:
        super().__init__(None, count=count, seed=seed, void=void)
        self.off, self.asked = off, 0

    @property
    def digest(self) -> str:
        return "stub"

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        self.asked += 1
        height, width = picture.shape[:2]
        return Regions(rectangles(height + self.off, width, **self.settings))
