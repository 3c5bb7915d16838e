"""Pictures of a few surfaces, each of nearly one colour, so that a graph of pixels has edges."""

import torch
from torch import Tensor

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)  # OpenAI's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def surfaces(height: int, width: int, seed: int = 0, noise: float = 0.01) -> Tensor:
    """RGB in [0, 1], (3, H, W): squares of 8 pixels in three colours."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(3, 3, generator=generator)
    squares = torch.randint(3, (-(-height // 8), -(-width // 8)), generator=generator)
    image = colours[:, squares].repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    return (image + noise * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


def normalised(rgb: Tensor) -> Tensor:
    return (rgb - MEAN) / STD
