"""What a tail may look at: the frozen trunk's hidden states and, block by block, its queries, keys and values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .kept import on
from .together import is_shared, once

T = TypeVar("T")


def position(block: int, depth: int) -> int:
    """Index of `block` among `depth` blocks, counted from the end when negative; -1 is the state before the first."""
    index = block if block >= 0 else block + depth
    if not -1 <= index < depth:
        raise InputError(f"block {block} is asked for, and the tower has {depth}")
    return index


def relative(blocks: Iterable[int], tower: int | None, depth: int) -> list[int]:
    """Blocks of a tower of `depth`, from 0, for `blocks` as papers write them: from 1, in a tower of `tower` blocks.

    Where the depths differ, each becomes the block at the same relative height, rounded, once; `tower` None takes
    them as they are. Raises InputError when the tower ends before them.
    """
    blocks, tower = list(blocks), depth if tower is None else tower
    if not blocks or min(blocks) < 1 or tower < 1:
        raise InputError(f"blocks {blocks} of a tower of {tower} are asked for; both count from 1")
    found = {max(1, (2 * block * depth + tower) // (2 * tower)) for block in blocks}
    if max(found) > depth:
        raise InputError(f"block {max(found)}, counted from 1, is asked for, and the tower has {depth}")
    return [block - 1 for block in sorted(found)]


@dataclass(frozen=True)
class QKV:
    """What the attention of one block sees. Each projection is computed when it is first read, and only then.

    `tokens` Y (N, T, C) is the block's input after its first LayerNorm; the first `prefix` tokens are no patches.
    """

    attn: nn.Module
    tokens: Tensor
    grid: tuple[int, int]
    prefix: int = 1

    @property
    def heads(self) -> int:
        return self.attn.num_heads

    @property
    def scale(self) -> float:
        """1/√d for heads of width d."""
        return (self.tokens.shape[-1] // self.heads) ** -0.5

    def split(self, projected: Tensor) -> Tensor:
        """(N, T, C) -> (N, heads, T, d)."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _project(self, part: int) -> Tensor:
        rows = slice(part * self.tokens.shape[-1], (part + 1) * self.tokens.shape[-1])
        return self.split(F.linear(self.tokens, self.attn.in_proj_weight[rows], self.attn.in_proj_bias[rows]))

    @cached_property
    def q(self) -> Tensor:
        """(N, heads, T, d)"""
        return self._project(0)

    @cached_property
    def k(self) -> Tensor:
        """(N, heads, T, d)"""
        return self._project(1)

    @cached_property
    def v(self) -> Tensor:
        """(N, heads, T, d)"""
        return self._project(2)

    def output(self, heads: Tensor) -> Tensor:
        """Joins (N, heads, T, d) and applies W_o and b_o: (N, T, C)."""
        return self.attn.out_proj(heads.transpose(1, 2).flatten(2))


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """The frozen parts that the end of a network is read with, whatever went through it.

    `patch` pixels a patch; windows are normalised by `mean` and `std`; the first `prefix` tokens are no patches.
    """

    blocks: nn.ModuleList
    ln_post: nn.Module
    proj: Tensor
    patch: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    prefix: int = 1

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def joint(self, tokens: Tensor) -> Tensor:
        """(N, T, C) -> joint space (N, T, D): LN_post, then proj."""
        return self.ln_post(tokens) @ self.proj

    def rgb(self, image: Tensor) -> Tensor:
        """Normalised pixels (..., 3, H, W) as RGB in [0, 1], fp32."""
        mean, std = on(image.device, _statistics, tuple(self.mean), tuple(self.std))
        return once("rgb", tuple(self.mean), tuple(self.std), image, compute=lambda: image.float() * std + mean)


@dataclass(frozen=True, kw_only=True)
class Trace(Trunk):
    """The read-only record of a batch of N windows' way through the trunk.

    `image` (N, 3, H, W): the normalised windows. `states` maps a block's index to its output (N, T, C); it holds what
    the tail said it reads (`Tail.reads`). Block -1 is the last one, as in a list; `hidden(-2)` is therefore the last
    block's input.
    """

    image: Tensor
    grid: tuple[int, int]
    states: dict[int, Tensor]
    _known: dict[Hashable, object] = field(default_factory=dict, repr=False)
    _seen: dict[int, QKV] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed when `key` is first asked for."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def hidden(self, block: int) -> Tensor:
        """Output of `block`, (N, T, C)."""
        return self.states[position(block, self.depth)]

    def before(self, block: int) -> Tensor:
        """Input of `block`, (N, T, C)."""
        return self.states[position(block, self.depth) - 1]

    def qkv(self, block: int) -> QKV:
        """What the attention of `block` saw; kept where several readers may ask."""
        block = position(block, self.depth)
        if block not in self._seen:
            module = self.blocks[block]
            seen = QKV(module.attn, module.ln_1(self.before(block)), self.grid, self.prefix)
            if not is_shared():
                return seen
            self._seen[block] = seen
        return self._seen[block]

    @property
    def pixels(self) -> Tensor:
        """The windows as RGB in [0, 1], (N, 3, H, W), fp32."""
        return self.rgb(self.image)

    def class_features(self, tokens: Tensor) -> Tensor:
        """Unit joint-space feature of the class token of (N, T, C) tokens, (N, D), fp32."""
        return F.normalize(self.joint(tokens[:, 0]).float(), dim=-1)

    def fold(self, patches: Tensor) -> Tensor:
        """(N, h·w, C) -> (N, C, h, w)."""
        return patches.transpose(1, 2).unflatten(2, self.grid)

    def patches(self, tokens: Tensor) -> Tensor:
        """Joint-space patch features (N, D, h, w) of (N, T, C) tokens."""
        return self.fold(self.joint(tokens[:, self.prefix :]))


def _statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Both (3, 1, 1), fp32."""
    return torch.tensor([mean, std], dtype=torch.float32).view(2, 3, 1, 1)
