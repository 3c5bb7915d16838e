"""SFP (Jin et al., ICCV 2025, CVF open access) as released: SC-CLIP (arXiv 2411.15869), its outliers by attention.

Written with P^l, c^l, N_β and T of `scclip`; a: mean over heads of the attention of block L-1. Outliers O are, of the
patches with u_j > v_j, the ten with the largest u_j:

    u_j = 1.5 a[CLS, j],   v_j = a[j, j]
    M = m mᵀ without entries below β, m = unit rows of R_O(P^mid);   G = softmax(3 (M - mean M)), no negative entries
    A = ⅓[softmax(q qᵀ/√d) + softmax(k kᵀ/√d) + G]
    y₁ = N_β(T)·(W_o A v + b_o + ρ c^{L-1})       q, k, v from LN1(N_β(M)·R_O(P^{L-1})), patches alone
    y₂ = N_β(T)·(W_o G v + b_o + ρ Σ c^l)         v from LN1(Σ P^l) over the fused blocks
    F = LN_post(y₁ + y₂) proj

R_O makes an outlier among outliers 0, which then looks at all patches alike in G; M has lost its small entries before
its softmax; T is not repaired.

Official code: github.com/Kimsure/SFP (`SFP_ICCV/clip/model.py`). It is followed, and it is not the paper's method: the
purifier of every layer, the semantic-aware attention enhancer and the hierarchical attention integrator are in no
commit of it. There 1.5 is 5 ρ. Its other detectors are 'norm' (L2) and 'released' (LOF, SC-CLIP's). It works on square
windows only (rows and columns of a patch are both found with the number of rows); here any window does, and statistics
are per window, in fp32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from ..registry import TAILS
from ..settings import Count, NonNegative, Real
from ..towers.attention import Attention, softmax
from ..towers.trace import QKV, Trace
from .scclip import LARGEST, SCCLIP


@TAILS.register_module()
class SFP(SCCLIP):
    """SC-CLIP's passes with other outliers and other attentions.

    Args:
        mid, post, fused, tower, class_weight, beta, sharpness, neighbours: those of `SCCLIP`.
        detector: 'attention', or one of SC-CLIP's: 'norm', 'released', 'lof'.
        factor: that of u; the smaller, the fewer outliers.
    """

    needs_class_token = True

    lonely = "zero"

    def __init__(
        self,
        mid: Count = 9,
        post: Count = 4,
        fused: tuple[Count, ...] = (4, 5, 6, 7, 8, 9, 10),
        tower: Count | None = 12,
        class_weight: Real = 0.3,
        beta: Real = 0.4,
        sharpness: Real = 3.0,
        detector: Literal["attention", "norm", "released", "lof"] = "attention",
        factor: NonNegative = 1.5,
        neighbours: Count = 30,
    ) -> None:
        super().__init__(mid, post, fused, tower, class_weight, beta, sharpness, detector, neighbours)
        self.factor = factor

    def reads(self, depth: int) -> Iterable[int]:
        return [*super().reads(depth), *((-3,) if self.detector == "attention" else ())]

    def middle(self, trace: Trace) -> tuple[Tensor, Tensor]:
        """M without its small entries, and the last block's repaired patches."""
        similar, deep = super().middle(trace)
        return similar * (similar >= self.beta), deep

    def anomalous(self, trace: Trace) -> Tensor:
        """O (N, P)."""
        if self.detector == "attention":
            return most_looked_at(*class_and_own(trace.qkv(-2)), self.factor)
        return super().anomalous(trace)

    def weights(self, t: QKV, similar: Tensor) -> Attention:
        """⅓ [softmax(q qᵀ/√d) + softmax(k kᵀ/√d) + G]"""
        return (softmax(t.q, t.q, t.scale) + softmax(t.k, t.k, t.scale) + self.semantic(similar)) / 3

    def weights_of_sum(self, t: QKV, similar: Tensor) -> Attention:
        """G"""
        return self.semantic(similar)


def class_and_own(t: QKV) -> tuple[Tensor, Tensor]:
    """How the class token looks at each patch, and each patch at itself: the heads' mean of q-k attention, (N, P)."""
    weights = softmax(t.q, t.k, t.scale).weights().mean(1)
    return weights[:, 0, t.prefix :], weights.diagonal(dim1=1, dim2=2)[:, t.prefix :]


def most_looked_at(by_class: Tensor, by_itself: Tensor, factor: float) -> Tensor:
    """Which patches the class token looks at `factor` times more than they do themselves, at most ten: (N, P)."""
    looked_at = factor * by_class
    ranked = looked_at.masked_fill(looked_at <= by_itself, -torch.inf)
    largest = ranked.topk(min(LARGEST, ranked.shape[1]))
    return torch.zeros_like(ranked, dtype=torch.bool).scatter(1, largest.indices, largest.values > -torch.inf)
