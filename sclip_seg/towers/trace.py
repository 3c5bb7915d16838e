"""What a tail may look at: the frozen trunk's hidden states and, block by block, its queries, keys and values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .block import Block
from .kept import on
from .together import is_shared, once
from .tower import Tower

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

    `tokens` Y (N, T, C) is the block's input as its projections read it, in most after the first LayerNorm; the first
    `prefix` tokens are no patches. q and k are as the block compares them, normed and turned by their place where it
    does so.
    """

    block: Block
    tokens: Tensor
    grid: tuple[int, int]
    prefix: int = 1

    @property
    def heads(self) -> int:
        return self.block.heads

    @property
    def scale(self) -> float:
        """1/√d for heads of width d."""
        return (self.tokens.shape[-1] // self.heads) ** -0.5

    def split(self, projected: Tensor) -> Tensor:
        """(N, T, C) -> (N, heads, T, d)."""
        return self.block.split(projected)

    def _project(self, part: int) -> Tensor:
        return self.block.project(part, self.tokens, self.grid, self.prefix)

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

    def out_projection(self, heads: Tensor) -> Tensor:
        """W_o and b_o of mixed values alone, head by head again: (N, heads, T, d)."""
        return self.split(self.block.out_projection(heads.transpose(1, 2).flatten(2)))

    def output(self, heads: Tensor) -> Tensor:
        """Joins (N, heads, T, d) and applies W_o and b_o, and LayerScale where there is one: (N, T, C)."""
        return self.block.output(heads.transpose(1, 2).flatten(2))


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """The frozen network that windows go through, whatever went through it; they are normalised by `mean` and `std`."""

    tower: Tower
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.tower.blocks

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.tower.blocks)

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.tower.patch

    @property
    def prefix(self) -> int:
        """How many tokens, the first ones, are no patches."""
        return self.tower.prefix

    @property
    def dtype(self) -> torch.dtype:
        """Type that the blocks compute in."""
        return self.tower.dtype

    def joint(self, tokens: Tensor) -> Tensor:
        """(N, T, C) -> joint space (N, T, D), token by token: LN_post and proj of a tower with a class token."""
        return self.tower.joint(tokens)

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
            seen = self.looked(block, self.before(block))
            if not is_shared():
                return seen
            self._seen[block] = seen
        return self._seen[block]

    def looked(self, block: int, x: Tensor, prefix: int | None = None) -> QKV:
        """What the attention of `block` sees of tokens x (N, T, C) in place of its input; `prefix` are no patches."""
        own = self.blocks[block]
        return QKV(own, own.normed(x), self.grid, self.prefix if prefix is None else prefix)

    @property
    def pixels(self) -> Tensor:
        """The windows as RGB in [0, 1], (N, 3, H, W), fp32."""
        return self.rgb(self.image)

    def class_features(self, tokens: Tensor) -> Tensor:
        """The tower's own unit feature of windows (N, D), fp32, by their tokens (N, T, C) after the last block.

        It is that of the class token, or what the tower pools its tokens to.
        """
        return F.normalize(self.tower.pooled(tokens).float(), dim=-1)

    def fold(self, patches: Tensor) -> Tensor:
        """(N, h·w, C) -> (N, C, h, w)."""
        return patches.transpose(1, 2).unflatten(2, self.grid)

    def patches(self, tokens: Tensor) -> Tensor:
        """Joint-space patch features (N, D, h, w) of (N, T, C) tokens."""
        return self.fold(self.joint(tokens[:, self.prefix :]))


def _statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Both (3, 1, 1), fp32."""
    return torch.tensor([mean, std], dtype=torch.float32).view(2, 3, 1, 1)
