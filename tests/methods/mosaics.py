"""Windows with something in them to find, and words that find it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sclip_seg.words.text import TextBank


def mosaic(height: int, width: int, seed: int) -> Tensor:
    """Two windows (2, 3, H, W) of 8 x 8 squares in three colours, a little noisy, so that PAMR finds its like."""
    generator = torch.Generator().manual_seed(seed)
    colours = 3 * torch.randn(2, 3, 3, generator=generator)
    squares = torch.randint(3, (2, -(-height // 8), -(-width // 8)), generator=generator)
    image = torch.stack([palette[index] for palette, index in zip(colours, squares, strict=True)]).movedim(3, 1)
    image = image.repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :height, :width]
    return image + 0.1 * torch.randn(2, 3, height, width, generator=generator)


def bank(features: Tensor) -> TextBank:
    """Six queries of three classes, each the unit feature of a patch less its window's mean: (2, D, h, w) -> (6, D)."""
    unit = F.normalize(features, dim=1).flatten(2)
    unit = F.normalize(unit - unit.mean(2, keepdim=True), dim=1)
    count = unit.shape[2]
    queries = torch.cat([unit[..., patch] for patch in (0, count // 3, 2 * count // 3)])
    return TextBank(queries.float(), torch.tensor([0, 0, 1, 1, 2, 2]), 3)
