"""FSA (ICCV 2025, arXiv 2508.20265): the likeness of the patches' own predictions, fed back into the last attention.

A second pass over ProxyCLIP, whose attention is P and whose features are E(P) = LN_post(W_o P v + b_o) proj, of unit
length for the cosines. With the unit texts t_c of all queries, and uniform attention giving every patch the mean of v:

    p_i = softmax_c(20 E(P)_i·t_c - 35 E(uniform)·t_c);   S_ij = 1 / (1 + KL(p_i ‖ p_j))
    W = softmax(S e^(λ S)) over a row's likest entries, as far as softmax(S) adds up to 0.45, and at least the first
    A = (W P + P W + W) / 3;   F = LN_post(W_o A v + b_o) proj

λ = 3.0, with H/14 2.3, guided by MAE 4.5. The softmax of S in (0, 1] is nearly flat, so that the cut leaves a third of
the patches and more, and with λ = 3 what it drops has hardly any weight. Official code: github.com/chi-chi-zx/FSA, for
square windows with a square number of the guide's patches, all in half precision; here p, S and W are of fp32, and
windows may be oblong. What ProxyCLIP does otherwise here (`proxyclip.py`) is the same.

The paper has it over q-k and self-self attentions of other methods too, and released no code for them. `attention` in
place of a guide is our reading: E as that method's block closes, P with the class token and by heads, W one for all
heads between patches, where the class token looks at itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..registry import GUIDES, TAILS
from ..settings import NonNegative, Real
from ..towers.attention import Attention, AttentionMaps, given
from ..towers.tail import LastBlock, Tail
from ..towers.trace import Trace
from .proxyclip import proxy_maps, values_on

if TYPE_CHECKING:
    from ..words.text import TextBank

FIRST, UNIFORM = 20.0, 35.0  # what the cosines of the two passes are multiplied by
MASS = 0.45  # of a row that is kept
LEAST = 1e-10  # added to probabilities before their logarithm


@dataclass(frozen=True)
class Base:
    """What is fed back into: the attention P over the patches of a grid, after `prefix` other tokens.

    `close` makes the block's output in the joint space, (N, T or 1, D), with an attention in P's place.
    """

    attention: Attention
    grid: tuple[int, int]
    prefix: int
    close: Callable[[Attention], Tensor]

    def features(self, attention: Attention) -> Tensor:
        """E (N, P or 1, D) of the patches, of any length."""
        return self.close(attention)[:, -self.grid[0] * self.grid[1] :]

    def uniform(self, device: torch.device) -> Attention:
        """Every token gets the mean of all patches' values: a single row."""
        patches = self.grid[0] * self.grid[1]
        return given(F.pad(torch.full((1, 1, 1, patches), 1 / patches, device=device), (self.prefix, 0)))


@TAILS.register_module()
class FSA(Tail):
    """ProxyCLIP's features with a second pass, or those of another attention of the last block.

    Args:
        guide: config of a `Guide`, for ProxyCLIP's attention.
        beta, gamma: β and γ of it.
        sharpness: λ.
        attention: of `ATTENTION`, in place of a guide (ours, see the module).
        residual, mlp: with it, what else the block keeps.
    """

    def __init__(
        self,
        guide: dict | None = None,
        beta: Real = 1.2,
        gamma: Real = 3.0,
        sharpness: NonNegative = 3.0,
        attention: str | dict | None = None,
        residual: bool = False,
        mlp: bool = False,
    ) -> None:
        if (guide is None) == (attention is None):
            raise InputError("FSA is over a guide's attention or over another: give guide or attention, and not both")
        if guide is not None and (residual or mlp):
            raise InputError(
                "FSA over a guide's attention has no residual and no FFN: residual and mlp are the other's"
            )
        super().__init__()
        self.last = None if attention is None else LastBlock(attention, residual, mlp)
        self.guide = None if guide is None else GUIDES.build(guide)
        self.unit = 1 if guide is None else self.guide.unit
        self.beta, self.gamma, self.sharpness = beta, gamma, sharpness

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        base = self.base(trace)
        return base.features(self.fed_back(base, text)).transpose(1, 2).unflatten(2, base.grid)

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """A of the second pass, on the guide's grid where there is one, and then the same for all heads."""
        base = self.base(trace)
        return AttentionMaps(self.fed_back(base, text).weights(), base.grid, base.prefix)

    def base(self, trace: Trace) -> Base:
        """What is fed back into in these windows."""
        t = trace.qkv(-1)
        if self.last is not None:
            first = self.last.attention(t)
            first = first if isinstance(first, Attention) else given(first)
            return Base(first, t.grid, t.prefix, lambda other: trace.joint(self.last.close(trace, t, other)))
        maps = proxy_maps(self.guide(trace.pixels), self.beta, self.gamma)
        values = values_on(trace, maps.grid)[:, None]  # of all heads joined, since P is the same for all
        return Base(given(maps.weights), maps.grid, 0, lambda other: trace.joint(t.output(other @ values)))

    def fed_back(self, base: Base, text: TextBank | None) -> Attention:
        """A of the second pass."""
        if text is None:
            raise InputError("FSA feeds predictions back, so what it looks at depends on the words: give some")
        weights = [feedback(likeness(p), self.sharpness) for p in isolated(*predictions(base, text.features))]
        inside = F.pad(torch.stack(weights), (base.prefix, 0, base.prefix, 0))
        inside.diagonal(dim1=1, dim2=2)[:, : base.prefix] = 1
        again, first = given(inside[:, None]), base.attention
        return (again @ first + first @ again + again) / 3


def predictions(base: Base, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The scaled cosines of the first pass (N, P, Q) and under uniform attention (N, P or 1, Q), fp32."""
    attentions = (FIRST, base.attention), (UNIFORM, base.uniform(queries.device))
    first, uniform = (
        scale * F.normalize(base.features(attention).float(), dim=2) @ queries.float().T
        for scale, attention in attentions
    )
    return first, uniform


def isolated(first: Tensor, uniform: Tensor) -> Tensor:
    """p (N, P, Q)."""
    return (first - uniform).softmax(2)


def likeness(p: Tensor) -> Tensor:
    """S (P, P) of one window's p (P, Q)."""
    log = (p + LEAST).log()
    return 1 / (1 + ((p * log).sum(1, keepdim=True) - p @ log.T).clamp(min=0))


def kept(similar: Tensor) -> Tensor:
    """Which entries of the rows of S (P, P) stay: the likest, as long as their softmax adds up to at most 0.45."""
    falling, order = similar.sort(dim=1, descending=True, stable=True)
    within = falling.softmax(1).cumsum(1) <= MASS
    within[:, 0] = True
    return torch.zeros_like(within).scatter_(1, order, within)


def feedback(similar: Tensor, sharpness: float) -> Tensor:
    """W (P, P) of S (P, P)."""
    return (similar * (sharpness * similar).exp()).masked_fill_(~kept(similar), -torch.inf).softmax(1)
