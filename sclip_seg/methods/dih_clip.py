"""DIH-CLIP (Duan et al., ICCV 2025, CVF open access): selected heads in SC-CLIP's calibration (arXiv 2411.15869).

Written with P^l, c^l, N_β and T of `scclip`; t: a block's heads, H of them; S: the four heads whose map has the least
entropy, -Σ_ij p_ij log₂(p_ij + 1e-6) over the whole map; V: all heads' values side by side, which each selected map
multiplies whole:

    E = W_o Σ_{t∈S} softmax(k_t k_tᵀ/√d) V + b_o of block mid, all tokens; S by softmax(q_t k_tᵀ/√d)
    M = m mᵀ, m = unit rows of the patches of X^mid + E
    A_t = ½ softmax(3 (M - mean M), negative entries left out) + ½ softmax(k_t k_tᵀ/√d)
    y₁ = N_β(T)·(W_o 1/H Σ_{t∈S} A_t V + b_o + ρ c^{L-1})       k, V from LN1(N_β(M)·P^{L-1}), patches alone
    y₂ = N_β(T)·(W_o 1/H Σ_{t∈S} A_t V + b_o + ρ Σ c^l)         k, V from LN1(Σ P^l) over the fused blocks
    F = LN_post(y₁ + y₂) proj

No anomaly is looked for. S is chosen anew in each pass, by A_t.

Official code: github.com/duan-song/DiH-CLIP (`clip/model.py`), whose encoder is followed (its segmentor does not run as
released). There the sum over S is divided by all H heads, so that attention is worth a third of what it is otherwise;
E is a sum; and heads with the entropy of the fourth are all selected. With four heads or fewer, all are.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ..registry import TAILS
from ..settings import Count, Real
from ..towers.attention import Attention, given, softmax
from ..towers.trace import QKV, Trace
from .scclip import Calibrated, similarity


@TAILS.register_module()
class DIHCLIP(Calibrated):
    """SC-CLIP's passes with the attention of the heads that have the least entropy.

    Args:
        mid, post, fused, tower, class_weight, beta, sharpness: those of `SCCLIP`.
        heads: how many of the heads are selected.
    """

    def __init__(
        self,
        mid: Count = 9,
        post: Count = 4,
        fused: tuple[Count, ...] = (4, 5, 6, 7, 8, 9, 10),
        tower: Count | None = 12,
        class_weight: Real = 0.3,
        beta: Real = 0.4,
        sharpness: Real = 3.0,
        heads: Count = 4,
    ) -> None:
        super().__init__(mid, post, fused, tower, class_weight, beta, sharpness)
        self.heads = heads

    def reads(self, depth: int) -> Iterable[int]:
        return [*super().reads(depth), self.layers(depth)[0] - 1 - depth]

    def middle(self, trace: Trace) -> tuple[Tensor, Tensor]:
        """M of the middle block with E, and the last block's patches as they are."""
        mid, _, _ = self.layers(trace.depth)
        t = trace.qkv(mid)
        joined = given(self.sum_selected(softmax(t.k, t.k, t.scale).weights(), trained(t)))
        enhanced = trace.hidden(mid) + t.output(joined @ t.v)
        return similarity(enhanced[:, trace.prefix :]), trace.before(-1)[:, trace.prefix :]

    def weights(self, t: QKV, similar: Tensor) -> Attention:
        """1/H Σ_{t∈S} A_t, one map for all heads."""
        maps = self.maps(t, similar)
        return given(self.sum_selected(maps, maps)) / t.heads

    def maps(self, t: QKV, similar: Tensor) -> Tensor:
        """A_t of all heads, (N, heads, P, P)."""
        return ((self.semantic(similar) + softmax(t.k, t.k, t.scale)) / 2).weights()

    def sum_selected(self, maps: Tensor, by: Tensor) -> Tensor:
        """Of maps (N, heads, T, T), the sum of those that are selected by the maps `by`: (N, 1, T, T)."""
        return (maps * selected(entropies(by), self.heads)[..., None, None]).sum(1, keepdim=True)


def trained(t: QKV) -> Tensor:
    """A block's maps as CLIP was trained, (N, heads, T, T)."""
    return softmax(t.q, t.k, t.scale).weights()


def entropies(maps: Tensor) -> Tensor:
    """-Σ p log₂(p + 1e-6) of each map of (N, heads, T, T), its rows not averaged: (N, heads)."""
    return -(maps * (maps + 1e-6).log2()).sum((2, 3))


def selected(entropy: Tensor, count: int) -> Tensor:
    """The heads with the `count` least of (N, heads), and those equal to the last of them, bool."""
    least = entropy.topk(min(count, entropy.shape[1]), largest=False).values
    return entropy <= least.amax(1, keepdim=True)
