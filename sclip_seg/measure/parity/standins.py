"""Second models that the reference gives in closed form."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...regions.provider import RegionProvider
from ...regions.regions import Regions
from ...registry import GUIDES, REGIONS
from ...settings import Count
from ...towers.guide import Guide
from .reference import Placed

CHANNELS = 48  # of every stand-in
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std of RGB


@GUIDES.register_module(force=True)
class GivenGuide(Guide):
    """A guide whose features are given."""

    arch, pretrained, digest = "given", None, ""
    features: Tensor

    def forward(self, image: Tensor) -> Tensor:
        return self.features

    def query_plus_key(self, image: Tensor) -> Tensor:
        return self.features


@GUIDES.register_module(force=True)
class LinearGuide(Guide):
    """q + k of windows under ImageNet's statistics, linear in patches of 8 pixels."""

    arch, pretrained, digest, unit = "given", None, "", 8
    weight: Tensor
    bias: Tensor

    def draw(self, recipe: Placed, name: str) -> None:
        """Of that name; the first two thirds of the rows are q and k."""
        rows = (3 * CHANNELS, 3 * self.unit**2)
        weight = 4.0 / rows[1] ** 0.5 * recipe._gauss(f"{name}/qkv.weight", rows, 1).float()
        bias = 0.35 * recipe._gauss(f"{name}/qkv.bias", rows[:1], 1).float()
        self.weight, self.bias = weight.view(3, CHANNELS, 3, self.unit, self.unit), bias.view(3, CHANNELS)

    def query_plus_key(self, image: Tensor) -> Tensor:
        mean, std = (image.new_tensor(channels).view(3, 1, 1) for channels in IMAGENET)
        kernels = zip(self.weight[:2], self.bias[:2], strict=True)
        q, k = (F.conv2d((image - mean) / std, weight, bias, self.unit) for weight, bias in kernels)
        return q + k


@REGIONS.register_module(force=True)
class GivenRegions(RegionProvider):
    """Regions that are given; of whole numbers, the smallest of which counts as void as released."""

    digest, keeps = "", False
    ids: Tensor

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        return Regions(self.ids.int())


@GUIDES.register_module(force=True)
class CosineGuide(Guide):
    """cos(conv(x) + shift) of windows x under ImageNet's statistics; kernels of `unit` pixels stand side by side.

    `weight` (C, 3, unit, unit), `bias` (C,) and `shift` (C, h, w) are given.
    """

    arch, pretrained, digest = "given", None, ""
    weight: Tensor
    bias: Tensor
    shift: Tensor | float = 0.0

    def __init__(self, unit: Count) -> None:
        super().__init__()
        self.unit = unit

    def draw(self, recipe: Placed, name: str) -> None:
        """Kernels and bias of that name."""
        fan_in = 3 * self.unit**2
        shape = (CHANNELS, 3, self.unit, self.unit)
        self.weight = recipe._gauss(f"{name}/weight", shape, 4.0 * fan_in**-0.5).float()
        self.bias = recipe._gauss(f"{name}/bias", (CHANNELS,), 4.0).float()

    def forward(self, image: Tensor) -> Tensor:
        mean, std = (image.new_tensor(channels).view(3, 1, 1) for channels in IMAGENET)
        return torch.cos(F.conv2d((image - mean) / std, self.weight, self.bias, self.unit) + self.shift)

    def values(self, image: Tensor) -> Tensor:
        return self(image)


def in_32nds(array: np.ndarray, device: torch.device) -> Tensor:
    """What is stored as whole numbers of 1/32, fp32."""
    return torch.from_numpy(array.astype(np.float32)).to(device) / 32


def grid_of(patches: int, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of so many patches over a picture (H, W): the pair whose sides are most nearly in its proportion."""
    pairs = [(height, patches // height) for height in range(1, patches + 1) if patches % height == 0]
    height, width = size
    return min(pairs, key=lambda pair: abs(math.log(pair[0] * width / (pair[1] * height))))
