"""A frozen picture tower as it is read: how windows enter it, its blocks, and how tokens leave it for the joint space.

What a patch's feature in the joint space is depends on how the tower makes its picture's feature of all tokens:

* a class token (CLIP, EVA-CLIP, MobileCLIP-B): a patch is projected as that token is;
* the mean of the patches (CLIPA, ViTamin): a patch is normed and projected as their mean is;
* attention pooling (SigLIP, PE-Core, CoCa): a learned query weighs the tokens' values. A patch goes the way of its own
  value, as if the query looked at nothing else, which is how MaskCLIP reads a ResNet: value, output projection and, as
  the pooling has one, its feed-forward with residual ('values'). That last part was trained on mixtures of values
  alone, so that without it ('values_alone') is another reading; and one that leaves the pooling out ('none') is
  possible where the tokens have the joint space's width. None of them is any paper's.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .block import Block
from .positions import RULES

PoolReading = Literal["values", "values_alone", "none"]


class Tower:
    """The parts that a `Trunk` is made of. The first `prefix` tokens are no patches; 0 of a tower without class token.

    `native` is the grid (h, w) that it was built for, `patch` a patch's side in pixels.
    """

    rules: tuple[str, ...] = tuple(RULES)
    """How its positions may be resampled, its own way first."""
    blocks: tuple[Block, ...]
    prefix: int
    patch: int
    native: tuple[int, int]

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @property
    def has_class_token(self) -> bool:
        """Whether the first token is one that stands for the picture."""
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        """Type that the trunk computes in."""
        return self.blocks[0].dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.visual.parameters()).device

    @property
    def width(self) -> int:
        """C, that of a token."""
        raise NotImplementedError

    def embed(self, image: Tensor, rule: str) -> tuple[Tensor, tuple[int, int]]:
        """Windows (N, 3, H, W) as the first block takes them (N, T, C), and their grid; `rule` is of the positions."""
        raise NotImplementedError

    def joint(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, C) after the last block, each by itself, in the joint space (N, T, D)."""
        return self.projected(self.last_norm(tokens))

    def last_norm(self, tokens: Tensor) -> Tensor:
        """The first half of `joint`: LN_post of tokens (..., C)."""
        raise NotImplementedError

    def projected(self, normed: Tensor) -> Tensor:
        """The second half: whatever follows, at least proj."""
        raise NotImplementedError

    def pooled(self, tokens: Tensor) -> Tensor:
        """The tower's own feature of windows, (N, D), by all their tokens (N, T, C) after the last block."""
        raise NotImplementedError
