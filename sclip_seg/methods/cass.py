"""CASS (CVPR 2025, arXiv 2411.17150): the graphs of DINO's heads, of low rank, in those of CLIP's last block.

Per window and head, K: CLIP's keys of the patches; k': the guide's keys of its last block for the window squeezed into
a square, on CLIP's grid, all heads brought linearly to the range of K:

    C_i = K_i K_iᵀ/√d;   D_j = k'_j k'_jᵀ/√d;   L_j = D_j of rank 10;   λ: 20 largest eigenvalues over their sum
    w_ji = Σ_r |λ_r(D_j) - λ_r(C_i)|;   π: the assignment with the largest Σ_r w_r,π(r)
    S_r = (10 w L_π(r) + C_r)/(10 w + 1), w = w_r,π(r);   A = softmax(S + G);   F = LN_post(W_o A v + b_o) proj

G is NACLIP's Gaussian, σ = 5. L's singular values are first stretched: the largest times 1.5, the smallest times 0.5,
linearly between; its diagonal is then 0, its range that of C_r. Patches alone: the class token has no part.

Official code: github.com/MICV-yonsei/CASS. Its w has DINO's heads as rows, yet CLIP's head r gets DINO's π(r), and the
weight of another pair: followed ('released'); 'paper' is D_r with C_π(r). The pairs are often a tie that rounding
decides (two spectra that cross once cost the same in any order), so 'identity' is an option: its `sequential` one, head
r with head r, 10 w = 1. Not followed: L is exact (there `svd_lowrank`, whose random numbers move unit features by up to
1e-2), and the guide sees the window's colours (there a slip in the statistics, and values that wrap). A guide with
another number of heads is read as if it had CLIP's. What it does to texts are stages (`picture/texts.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..errors import InputError
from ..registry import GUIDES, TAILS
from ..settings import Count, NonNegative, Positive
from ..towers.attention import AttentionMaps
from ..towers.tail import Tail
from ..towers.trace import QKV, Trace
from .naclip import neighbourhood

if TYPE_CHECKING:
    from ..words.text import TextBank

EIGENVALUES = 20  # that spectra are compared by
STRETCH = 1.5, 0.5  # of the largest and of the smallest singular value
NOTHING = 1e-12  # eigenvalues below this part of the largest are rounding
SMALLEST = torch.finfo(torch.float32).tiny


@TAILS.register_module()
class CASS(Tail):
    """Patch features by the joint graphs.

    Args:
        guide: config of a `Guide` that shows its keys.
        pairing: 'released', 'paper' or 'identity'.
        rank: of L.
        strength: the factor 10 of w.
        stretch: whether L's singular values are stretched.
        sigma: of G, in patches.
    """

    def __init__(
        self,
        guide: dict,
        pairing: Literal["released", "paper", "identity"] = "released",
        rank: Count = 10,
        strength: NonNegative = 10.0,
        stretch: bool = True,
        sigma: Positive = 5.0,
    ) -> None:
        super().__init__()
        self.guide = GUIDES.build(guide)
        self.pairing, self.rank, self.strength, self.stretch, self.sigma = pairing, rank, strength, stretch, sigma

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        t = patches_alone(trace)
        mixed = [weights.to(v.dtype) @ v for weights, v in zip(self.weights(trace, t), t.v, strict=True)]
        return trace.fold(trace.joint(t.output(torch.stack(mixed))))

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """A, of the patches."""
        weights = torch.stack([*self.weights(trace, patches_alone(trace))])
        return AttentionMaps(weights, trace.grid, prefix=0)

    def weights(self, trace: Trace, t: QKV) -> Iterator[Tensor]:
        """A (heads, P, P), fp32, of each window."""
        near = neighbourhood(t, self.sigma)
        for keys, guide in zip(t.k.float(), self.guide_keys(trace, t.heads), strict=True):
            yield (self.scores(keys, guide) + near).softmax(-1)

    def guide_keys(self, trace: Trace, heads: int) -> Tensor:
        """The guide's keys (N, heads, P, d'), fp32, on CLIP's grid."""
        keys = self.guide.keys(squared(trace.pixels)).float()
        if keys.shape[1] % heads:
            raise InputError(f"the guide's keys have {keys.shape[1]} channels, which {heads} heads do not divide")
        keys = F.interpolate(keys, trace.grid, mode="bilinear", align_corners=False)
        return keys.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)

    def scores(self, keys: Tensor, guide: Tensor) -> Tensor:
        """S (heads, P, P) of one window's keys (heads, P, d) and its guide's (heads, P, d')."""
        own, guide = keys @ keys.mT * keys.shape[-1] ** -0.5, ranged(guide, keys)
        partner, weight = self.pairs(guide, keys)
        low = low_rank(guide, self.rank, self.stretch)[partner]
        low.diagonal(dim1=1, dim2=2).zero_()
        low = ranged(low, own, dims=(1, 2))
        return (weight * low + own) / (weight + 1)

    def pairs(self, guide: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The guide's head for each of CLIP's, (heads,), and the weight of its L, (heads, 1, 1)."""
        if self.pairing == "identity":
            return torch.arange(len(keys), device=keys.device), keys.new_ones(len(keys), 1, 1)
        distance = spectral_distance(guide, keys)
        row, column = assigned(distance)
        weight = self.strength * distance[row, column]
        if self.pairing == "paper":
            order = column.argsort()
            return row[order], weight[order, None, None]
        return column, weight[:, None, None]


def patches_alone(trace: Trace) -> QKV:
    """What the last block makes of the patches, without the class token."""
    return trace.looked(-1, trace.before(-1)[:, trace.prefix :], prefix=0)


def squared(pixels: Tensor) -> Tensor:
    """Windows (N, 3, H, W) in [0, 1], squeezed into squares of their shorter side."""
    side = min(pixels.shape[2:])
    if tuple(pixels.shape[2:]) == (side, side):
        return pixels
    squeezed = F.interpolate(pixels, (side, side), mode="bicubic", align_corners=False, antialias=True)
    return squeezed.clamp(0, 1)


def ranged(x: Tensor, like: Tensor, dims: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """x brought linearly to the range of another, over `dims` together."""
    (low, high), (least, most) = ((t.amin(dims, keepdim=True), t.amax(dims, keepdim=True)) for t in (x, like))
    return (x - low) / (high - low).clamp(min=SMALLEST) * (most - least) + least


def gram(x: Tensor) -> Tensor:
    """xᵀx/√d (..., d, d) of (..., P, d), float64: it has the eigenvalues of x xᵀ/√d that are not 0."""
    x = x.double()
    return x.mT @ x * x.shape[-1] ** -0.5


def spectrum(x: Tensor) -> Tensor:
    """The 20 largest eigenvalues (heads, 20) of x xᵀ/√d of keys (heads, P, d), float64; zeros for those it lacks."""
    values = torch.linalg.eigvalsh(gram(x)).flip(-1).clamp(min=0)[..., :EIGENVALUES]
    return F.pad(values, (0, EIGENVALUES - values.shape[-1]))


def spectral_distance(guide: Tensor, keys: Tensor) -> Tensor:
    """w (heads of the guide, heads of CLIP)."""
    of_guide, of_clip = (s / s.sum(-1, keepdim=True).clamp(min=SMALLEST) for s in map(spectrum, (guide, keys)))
    return (of_guide[:, None] - of_clip).abs().sum(-1).to(keys.dtype)


def assigned(distance: Tensor) -> tuple[Tensor, Tensor]:
    """Rows, ascending, and the columns that are assigned to them with the largest sum.

    Distances are told apart to five decimals: where heads are alike, rounding, which differs from one number of threads
    to the next, would pair them otherwise.
    """
    found = linear_sum_assignment(1 - distance.cpu().numpy().round(5))
    return tuple(torch.from_numpy(index).to(distance.device) for index in found)


def low_rank(x: Tensor, rank: int, stretch: bool) -> Tensor:
    """The best approximation of that rank of x xᵀ/√d, (heads, P, P), of keys (heads, P, d)."""
    rank = min(rank, x.shape[-2])
    values, vectors = torch.linalg.eigh(gram(x))
    values, vectors = values.flip(-1)[..., :rank].clamp(min=0), vectors.flip(-1)[..., :rank]
    least = NOTHING * values.amax(-1, keepdim=True).clamp(min=SMALLEST)
    length = torch.where(values > least, values, torch.inf)[:, None].sqrt() * x.shape[-1] ** 0.25
    left = x.double() @ vectors / length
    if stretch:
        values = stretched(F.pad(values, (0, rank - values.shape[-1])))[..., : values.shape[-1]]
    return (left * values[:, None] @ left.mT).to(x.dtype)


def stretched(values: Tensor) -> Tensor:
    """Singular values (heads, R), largest first: the largest times 1.5, the smallest times 0.5, linearly between."""
    high, low = values[..., :1], values[..., -1:]
    most, least = STRETCH[0] * high, STRETCH[1] * low
    return (values - low) / (high - low).clamp(min=SMALLEST) * (most - least) + least
