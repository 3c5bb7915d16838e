"""Soft masks that are given by a formula, some of them empty."""

import numpy as np
import torch

from sclip_seg.regions.provider import RegionProvider
from sclip_seg.regions.regions import SoftRegions


class StubProposals(RegionProvider):
    """`count` masks of discs, the last of which is empty where there are several; embeddings of `width` numbers."""

    keeps = False

    def __init__(self, count: int = 4, width: int = 24, seed: int = 0) -> None:
        super().__init__(None, count=count, width=width, seed=seed)

    @property
    def digest(self) -> str:
        return "stub"

    def find(self, picture: np.ndarray, name: str = "") -> SoftRegions:
        count, width, seed = self.settings["count"], self.settings["width"], self.settings["seed"]
        drawn = torch.Generator().manual_seed(seed)
        y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
        middle = torch.rand(count, 2, 1, 1, generator=drawn) * torch.tensor([10.0, 12.0]).view(2, 1, 1)
        logits = 3 - ((y - middle[:, 0]) ** 2 + (x - middle[:, 1]) ** 2) / 3
        if count > 1:
            logits[-1] = -5.0
        objectness = 0.2 + 0.8 * torch.rand(count, generator=drawn)
        return SoftRegions(logits, picture.shape[:2], objectness, torch.randn(count, width, generator=drawn))
