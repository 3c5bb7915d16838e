"""SC-CLIP (Bai et al., IEEE TIP 2025, arXiv 2411.15869): self-calibration with the network's own middle layers.

P^l: patch tokens after block l, c^l its class token; O: the anomaly tokens of P^{L-1}; R_O: each of them replaced by
the mean of its neighbours, of 8, that are none; N_β(M) = M·[M >= β], rows scaled to sum 1:

    M = m mᵀ, m = unit rows of R_O(P^mid);   T = t tᵀ, t = unit rows of P^post
    A = ½ softmax(3 (M - mean M), negative entries left out) + ½ softmax(k kᵀ/√d)
    y₁ = N_β(T)·(W_o A v + b_o + ρ c^{L-1})       k, v from LN1(N_β(M)·R_O(P^{L-1})), patches alone
    y₂ = N_β(T)·(W_o A v + b_o + ρ Σ c^l)         k, v from LN1(Σ P^l) over the fused blocks
    F = LN_post(y₁ + y₂) proj                     (no residual of the patches, no FFN)

Official code: github.com/SuleBai/SC-CLIP (`clip/model.py`), whose anomaly score is a local outlier factor that compares
each point with its own k-distance, on squared distances: mean_j kdist_i / kdist_j over the 30 nearest, anomalous above
the 95 % quantile. Followed ('released'); the ten largest norms of its first release are 'norm', the factor as defined
(scikit-learn) is 'lof'. There ρ, ½ and 3 are, and the paper's summaries do not have them. The official code works on
square windows only. Statistics are per window, in fp32 (squared distances overflow fp16), and no anomaly is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from ..registry import TAILS
from ..settings import Count, Real
from ..towers.attention import Attention, AttentionMaps, given, softmax
from ..towers.tail import Tail
from ..towers.trace import QKV, Trace, relative

if TYPE_CHECKING:
    from ..words.text import TextBank

CONTAMINATION = 0.05
LARGEST = 10  # tokens that the first release took for anomalous
Look = Callable[[QKV, Tensor], Attention]


class Calibrated(Tail):
    """Two passes through the last block, of its calibrated input and of a sum of blocks, calibrated by middle blocks.

    Args:
        mid, post, fused: the blocks of M and of T, and those that are summed, from 1, for a tower of `tower` blocks.
        tower: depth that they are written for, scaled to another; None takes them as they are.
        class_weight: ρ.
        beta: β, similarities below it have no part in the averages.
        sharpness: factor of M before its softmax.
    """

    needs_class_token = ("class_weight",)

    def __init__(
        self,
        mid: Count,
        post: Count,
        fused: tuple[Count, ...],
        tower: Count | None,
        class_weight: Real,
        beta: Real,
        sharpness: Real,
    ) -> None:
        super().__init__()
        self.mid, self.post, self.fused, self.tower = mid, post, tuple(fused), tower
        self.class_weight, self.beta, self.sharpness = class_weight, beta, sharpness

    def layers(self, depth: int) -> tuple[int, int, list[int]]:
        """mid, post and fused blocks of this tower, from 0."""
        (mid,), (post,) = (relative([block], self.tower, depth) for block in (self.mid, self.post))
        return mid, post, relative(self.fused, self.tower, depth)

    def reads(self, depth: int) -> Iterable[int]:
        mid, post, fused = self.layers(depth)
        return [-2, *(block - depth for block in (mid, post, *fused))]

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        spread, similar, passes = self.passes(trace)
        looks = self.weights, self.weights_of_sum
        attended = (self.attend(trace, *own, look, similar) for own, look in zip(passes, looks, strict=True))
        return trace.fold(trace.joint(sum(spread @ out for out in attended)))

    def passes(self, trace: Trace) -> tuple[Tensor, Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        """N_β(T) and M (N, P, P), and for y₁ and y₂ their patches (N, P, C) and the tokens with their class token."""
        _, _, fused = self.layers(trace.depth)
        last, total = trace.before(-1), sum(trace.hidden(block) for block in fused)
        similar, deep = self.middle(trace)
        calm = aggregate(similar, self.beta).to(last.dtype) @ deep
        spread = aggregate(self.after(trace), self.beta).to(last.dtype)
        return spread, similar, ((calm, last), (total[:, trace.prefix :], total))

    def middle(self, trace: Trace) -> tuple[Tensor, Tensor]:
        """M (N, P, P), and the last block's patches (N, P, C) that N_β(M) averages."""
        raise NotImplementedError

    def after(self, trace: Trace) -> Tensor:
        """T (N, P, P)."""
        return similarity(trace.hidden(self.layers(trace.depth)[1])[:, trace.prefix :])

    def attend(self, trace: Trace, patches: Tensor, tokens: Tensor, look: Look, similar: Tensor) -> Tensor:
        """W_o A v + b_o + ρ·class token of `tokens`, q, k, v from the patches alone: (N, P, C)."""
        t = self.projections(trace, patches)
        out = t.output(look(t, similar) @ t.v)
        return out + self.class_weight * tokens[:, :1]

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """N_β(T) A without the class token, the mean of both passes, which mix values of their own."""
        spread, similar, ((calm, _), (total, _)) = self.passes(trace)
        first = self.weights(self.projections(trace, calm), similar).weights()
        second = self.weights_of_sum(self.projections(trace, total), similar).weights()
        return AttentionMaps(spread.float()[:, None] @ ((first + second) / 2), trace.grid, prefix=0)

    def projections(self, trace: Trace, patches: Tensor) -> QKV:
        """What the last block makes of patches (N, P, C) alone."""
        return trace.looked(-1, patches, prefix=0)

    def weights(self, t: QKV, similar: Tensor) -> Attention:
        """A of y₁, by the last block's projections and M."""
        raise NotImplementedError

    def semantic(self, similar: Tensor) -> Attention:
        """softmax(3 (M - mean M)) without its negative entries, one map for all heads."""
        centred = self.sharpness * (similar - similar.mean((1, 2), keepdim=True))
        # Where all patches are alike, rounding may put the mean above every entry: the largest always stays.
        left_out = (centred < 0) & (centred < centred.amax(-1, keepdim=True))
        return given(centred.masked_fill(left_out, -torch.inf).softmax(-1)[:, None])

    def weights_of_sum(self, t: QKV, similar: Tensor) -> Attention:
        """A of y₂: by the same rule."""
        return self.weights(t, similar)


@TAILS.register_module()
class SCCLIP(Calibrated):
    """Calibrated patch features.

    Args:
        mid, post, fused, tower, class_weight, beta, sharpness: see `Calibrated`.
        detector: 'released', 'norm' or 'lof'.
        neighbours: k of the outlier factors; one less than the patches where there are no more.
    """

    lonely: Literal["kept", "zero"] = "kept"
    """What an anomaly without a sound neighbour becomes."""

    def __init__(
        self,
        mid: Count = 9,
        post: Count = 4,
        fused: tuple[Count, ...] = (4, 5, 6, 7, 8, 9, 10),
        tower: Count | None = 12,
        class_weight: Real = 0.3,
        beta: Real = 0.4,
        sharpness: Real = 3.0,
        detector: Literal["released", "norm", "lof"] = "released",
        neighbours: Count = 30,
    ) -> None:
        super().__init__(mid, post, fused, tower, class_weight, beta, sharpness)
        self.detector, self.neighbours = detector, neighbours

    def middle(self, trace: Trace) -> tuple[Tensor, Tensor]:
        """M of the repaired patches of the middle block, and the last block's repaired patches."""
        mid, _, _ = self.layers(trace.depth)
        anomalous, states = self.anomalous(trace), (trace.hidden(mid), trace.before(-1))
        middle, deep = (repair(tokens[:, trace.prefix :], anomalous, trace.grid, self.lonely) for tokens in states)
        return similarity(middle), deep

    def anomalous(self, trace: Trace) -> Tensor:
        """O (N, P)."""
        return outliers(trace.before(-1)[:, trace.prefix :], self.detector, self.neighbours)

    def weights(self, t: QKV, similar: Tensor) -> Attention:
        """½ softmax(3 (M - mean M)) without its negative entries + ½ softmax(k kᵀ/√d)"""
        return (self.semantic(similar) + softmax(t.k, t.k, t.scale)) / 2


def similarity(x: Tensor) -> Tensor:
    """Cosines of (N, P, C) with each other, (N, P, P), fp32."""
    unit = F.normalize(x.float(), dim=-1)
    return unit @ unit.transpose(1, 2)


def aggregate(similar: Tensor, beta: float) -> Tensor:
    """N_β of (N, P, P): entries below β are 0, rows sum to 1, or to 0 where there is none."""
    kept = similar * (similar >= beta)
    return kept / (kept.sum(-1, keepdim=True) + 1e-6)


def outliers(x: Tensor, detector: str, neighbours: int) -> Tensor:
    """Which of (N, P, C) are anomalous in their window, (N, P)."""
    if detector == "norm":
        largest = x.float().norm(dim=-1).topk(min(LARGEST, x.shape[1])).indices
        return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device).scatter(1, largest, True)
    if detector == "lof":
        factor = LocalOutlierFactor(min(neighbours, x.shape[1] - 1), contamination=CONTAMINATION)
        found = [torch.from_numpy(factor.fit_predict(window) < 0) for window in x.float().cpu().numpy()]
        return torch.stack(found).to(x.device)
    score = outlier_scores(x, neighbours)
    return score > score.quantile(1 - CONTAMINATION, dim=1, keepdim=True)


def outlier_scores(x: Tensor, neighbours: int) -> Tensor:
    """mean_j kdist_i / kdist_j over each token's nearest, kdist the squared distance of the last of them: (N, P)."""
    k = min(neighbours, x.shape[1] - 1)
    x = x.float()
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    distance.diagonal(dim1=1, dim2=2).fill_(-1)  # itself comes first, among equals too
    nearest = distance.topk(k + 1, largest=False)
    reach = nearest.values[..., -1].clamp(min=1e-10)  # equal tokens have a reach of 0
    of_nearest = reach.gather(1, nearest.indices[..., 1:].flatten(1)).view(*x.shape[:2], k)
    return (reach[..., None] / of_nearest).mean(-1)


def repair(x: Tensor, outlier: Tensor, grid: tuple[int, int], lonely: str = "kept") -> Tensor:
    """(N, P, C), each outlier (N, P) replaced by the mean of its neighbours among the 8 that are none.

    One that has none is `lonely`: it is kept as it is, or 'zero'.
    """
    fine = (~outlier).to(x.dtype)[..., None]
    sums, count = (_box(field, grid) for field in (x * fine, fine))
    mendable = outlier[..., None] if lonely == "zero" else outlier[..., None] & (count > 0)
    return torch.where(mendable, sums / count.clamp(min=1), x)


def _box(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sums over the 3 x 3 patches around each, (N, P, C)."""
    picture = x.transpose(1, 2).unflatten(2, grid)
    return F.avg_pool2d(picture, 3, stride=1, padding=1, divisor_override=1).flatten(2).transpose(1, 2)
