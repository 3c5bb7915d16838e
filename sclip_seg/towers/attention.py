"""Attention weights as an expression: written like the paper's equation, multiplied without being stored.

`softmax(q, k, scale) + softmax(k, k, scale)` is a sum of attention maps. `A @ v` runs each through the fused
kernel, so that no (T, T) tensor is held; `A.weights()` is the tensor itself, for a drawing or a closer look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class _Softmax:
    query: Tensor
    key: Tensor
    scale: float
    bias: Tensor | None

    def apply(self, value: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(self.query.dtype)
        return F.scaled_dot_product_attention(self.query, self.key, value, attn_mask=bias, scale=self.scale)

    def weights(self) -> Tensor:
        similarity = (self.query @ self.key.transpose(-2, -1)).float() * self.scale
        return (similarity if self.bias is None else similarity + self.bias).softmax(-1)


@dataclass(frozen=True)
class _Identity:
    like: Tensor

    def apply(self, value: Tensor) -> Tensor:
        return value

    def weights(self) -> Tensor:
        batch, heads, tokens, _ = self.like.shape
        return torch.eye(tokens, device=self.like.device).expand(batch, heads, tokens, tokens)


@dataclass(frozen=True)
class _Given:
    maps: Tensor

    def apply(self, value: Tensor) -> Tensor:
        weights = self.maps.to(value.dtype)
        if weights.shape[1] == value.shape[1]:
            return weights @ value
        # One map for all heads: one product over their joined columns, not a copy of the map for each.
        mixed = weights.squeeze(1) @ value.transpose(1, 2).flatten(2)
        return mixed.unflatten(2, (value.shape[1], -1)).transpose(1, 2)

    def weights(self) -> Tensor:
        return self.maps.float()


@dataclass(frozen=True)
class _Product:
    left: Attention
    right: Attention

    def apply(self, value: Tensor) -> Tensor:
        return self.left @ (self.right @ value)

    def weights(self) -> Tensor:
        return self.left.weights() @ self.right.weights()


@dataclass(frozen=True)
class Attention:
    """A weighted sum of attention maps (N, heads, T, T); supports `+`, `* number`, `/ number` and `@ v`.

    `A @ B` of two is their product, of which `(A @ B) @ v` stores as little as of either.
    """

    terms: tuple[tuple[float, _Softmax | _Identity | _Given | _Product], ...]

    def __add__(self, other: Attention) -> Attention:
        return Attention(self.terms + other.terms)

    def __radd__(self, start: int) -> Attention:
        return self if start == 0 else NotImplemented  # lets sum() add maps up

    def __mul__(self, factor: float) -> Attention:
        return Attention(tuple((coefficient * factor, term) for coefficient, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Attention:
        return self * (1 / divisor)

    @overload
    def __matmul__(self, value: Tensor) -> Tensor: ...

    @overload
    def __matmul__(self, value: Attention) -> Attention: ...

    def __matmul__(self, value: Tensor | Attention) -> Tensor | Attention:
        """(N, heads, T, d) values -> their weighted sums, same shape; another attention -> the product of both."""
        if isinstance(value, Attention):
            return Attention(((1.0, _Product(self, value)),))
        parts = (term.apply(value) if c == 1 else c * term.apply(value) for c, term in self.terms)
        return sum(parts, start=next(parts))

    def weights(self) -> Tensor:
        """The attention maps themselves, (N, heads, T, T), fp32."""
        return sum(coefficient * term.weights() for coefficient, term in self.terms)


@dataclass(frozen=True)
class AttentionMaps:
    """What the tokens of N windows look at: `weights` (N, heads, T, T), fp32; heads is 1 where all have one map.

    The first `prefix` tokens are no patches, the others lie on the `grid` (h, w) over the window.
    """

    weights: Tensor
    grid: tuple[int, int]
    prefix: int

    def of_patch(self, row: int, column: int) -> Tensor:
        """How the patch at (row, column) of the grid looks at the patches of its window: (N, heads, h, w)."""
        return self._row(row, column)[..., self.prefix :].unflatten(2, self.grid)

    def of_others(self, row: int, column: int) -> Tensor:
        """How the same patch looks at the tokens that are no patches: (N, heads, prefix)."""
        return self._row(row, column)[..., : self.prefix]

    def _row(self, row: int, column: int) -> Tensor:
        return self.weights[:, :, self.prefix + row * self.grid[1] + column]


def softmax(query: Tensor, key: Tensor, scale: float, bias: Tensor | None = None) -> Attention:
    """softmax(query keyᵀ · scale + bias) over the keys.

    query, key (N, heads, T, d); bias broadcasts to (N, heads, T, T) and is added after the scaling.
    """
    return Attention(((1.0, _Softmax(query, key, scale, bias)),))


def identity(like: Tensor) -> Attention:
    """Every token sees itself alone; `like` (N, heads, T, d) gives the shape."""
    return Attention(((1.0, _Identity(like)),))


def given(maps: Tensor) -> Attention:
    """Weights that are at hand as they are: (N, heads, T, T), or (N, 1, T, T) for all heads alike."""
    return Attention(((1.0, _Given(maps)),))
