"""ResCLIP (Yang et al., CVPR 2025, arXiv 2411.15851): residual attention for training-free dense prediction.

RCS mixes the last block's attention with the q-k attention A_c of middle blocks, head by head; SFR feeds the labels of
a first pass back into the scores of a second one. With S₀ = k kᵀ/√d and G of the NACLIP base:

    S = τ_s [(1 - λ_s) S₀ + λ_s Ŝ]  (S₀ in the first pass);   A_s = softmax(S + G)
    A = τ_r [(1 - λ_r) A_s + λ_r A_c],   A_c = mean of softmax(q kᵀ/√d) over blocks 6 to 9
    F = LN_post(W_o A v + b_o) proj
    Ŝ from S'_ij = [m_i = m_j] · (V_ij + (1 - V_ij) e^(-c_ij/c_max)),  m the patches' labels, c the Chebyshev distance

Ŝ is S' smoothed along each row, rows scaled to sum 1, divided by the largest entry. The labels are those of the first
pass's score maps at pixels, after 10 rounds of PAMR on the window; below a threshold they become query 0; a patch has
its pixels' most frequent one, queries (not classes) compared.

Official code: github.com/yvhangyang/ResCLIP (`clip/model.py`). Its quirks made the published numbers and are the
defaults; the paper's intention is an option of each:

* V, "a path exists", is a straight line of which only the part c_ij/c_max is looked at (`sight='line'` sees all of it,
  'component' asks for connection).
* The smoothing is a 1-D Gaussian along the raster index, across the ends of rows (`blur='grid'`).
* The largest entry is that of the whole map, so one lonely patch weakens all others (`scaling='row'`).
* λ_r, λ_s, τ and the threshold differ by benchmark, and "without post-processing" has the PAMR inside (`pamr`).
* Ŝ and λ_s Ŝ are rounded to half precision (`half`; off here), an error of memory leaves PAMR out (never here).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from scipy.ndimage import label
from torch import Tensor

from ..errors import InputError
from ..picture.refine.pamr import PAMR
from ..registry import TAILS
from ..settings import Count, Positive, Real, Share
from ..towers.attention import Attention, softmax
from ..towers.kept import on
from ..towers.tail import LastBlock, cosines
from ..towers.trace import QKV, Trace, relative
from .clip import qk
from .naclip import neighbourhood

if TYPE_CHECKING:
    from ..words.text import TextBank

BASES = {"naclip": ("kk",), "clearclip": ("qq",), "vanilla": ("qk",), "sclip": ("qq", "kk")}


@TAILS.register_module()
class ResCLIP(LastBlock):
    """The last block with residual attention.

    Args:
        base: whose attention A_s is: 'naclip' (with G), 'clearclip' (q q), 'vanilla' (q k), 'sclip' (q q and k k).
        residual, mlp: kept with the SCLIP base.
        sigma: σ of G and of the smoothing, in patches.
        rcs, rcs_scale: λ_r in [0, 1] and τ_r; `rcs` None is A = A_s.
        rcs_blocks, tower: blocks of A_c, from 1, and the depth they are written for; None takes them as they are.
        sfr, sfr_scale: λ_s in [0, 1] and τ_s; `sfr` None is the first pass alone.
        threshold: first-pass probabilities below it make a pixel query 0.
        logit_scale: of the first pass's softmax.
        pamr, sight, blur, scaling, half: see the module.
    """

    def __init__(
        self,
        base: Literal["naclip", "clearclip", "vanilla", "sclip"] = "naclip",
        residual: bool = False,
        mlp: bool = False,
        sigma: Positive = 5.0,
        rcs: Share | None = 0.5,
        rcs_scale: Real = 2.0,
        rcs_blocks: Sequence[Count] = (6, 7, 8, 9),
        tower: Count | None = 12,
        sfr: Share | None = 0.7,
        sfr_scale: Real = 2.0,
        threshold: Share = 0.1,
        logit_scale: Positive = 40.0,
        pamr: bool = True,
        sight: Literal["released", "line", "component"] = "released",
        blur: Literal["raster", "grid"] = "raster",
        scaling: Literal["global", "row"] = "global",
        half: bool = False,
    ) -> None:
        super().__init__("kk", residual, mlp)
        self.base, self.sigma, self.half = base, sigma, half
        self.rcs, self.rcs_scale, self.rcs_blocks, self.tower = rcs, rcs_scale, tuple(rcs_blocks), tower
        self.sfr, self.sfr_scale, self.threshold, self.logit_scale = sfr, sfr_scale, threshold, logit_scale
        self.pamr = PAMR(10, (8, 16)) if pamr else None
        self.sight, self.blur, self.scaling = sight, blur, scaling

    def middle(self, depth: int) -> list[int]:
        """Blocks of A_c in this tower, from 0."""
        return [] if self.rcs is None else relative(self.rcs_blocks, self.tower, depth)

    def reads(self, depth: int) -> Iterable[int]:
        return [-2, *(block - 1 - depth for block in self.middle(depth))]

    def mix(self, trace: Trace, t: QKV, text: TextBank | None) -> Attention:
        """A of the second pass; of the first one without SFR."""
        cross = self.cross(trace)
        first = self.residual_attention(t, cross)
        if self.sfr is None:
            return first
        if text is None:
            raise InputError("ResCLIP feeds labels back (sfr), so what it looks at depends on the words: give some")
        probability = self.probabilities(trace, trace.patches(self.close(trace, t, first)), text)
        labels = (patch_labels(window, self.threshold, trace.patch, trace.grid) for window in probability)
        options = (trace.grid, self.sigma, self.sight, self.blur, self.scaling)
        same = torch.stack([feedback(window, *options) for window in labels])
        return self.residual_attention(t, cross, same)

    def probabilities(self, trace: Trace, features: Tensor, text: TextBank) -> Iterable[Tensor]:
        """Of the queries at the pixels of each window, (Q, H, W), by the features (N, D, h, w) of the first pass."""
        for scores, picture in zip(cosines(features, text.features), trace.image, strict=True):
            maps = F.interpolate(scores[None], picture.shape[1:], mode="bilinear", align_corners=False)[0]
            maps = maps if self.pamr is None else self.pamr(maps, picture)
            yield (self.logit_scale * maps).softmax(0)

    def cross(self, trace: Trace) -> Attention | None:
        """A_c, the same in both passes; None without RCS."""
        middle = [qk(trace.qkv(block)) for block in self.middle(trace.depth)]
        return sum(middle) / len(middle) if middle else None

    def residual_attention(self, t: QKV, cross: Attention | None, same: Tensor | None = None) -> Attention:
        """A of a pass; `same` Ŝ (N, P, P) is the feedback of the one before."""
        own = self.own(t, same)
        return own if cross is None else self.rcs_scale * ((1 - self.rcs) * own + self.rcs * cross)

    def own(self, t: QKV, same: Tensor | None) -> Attention:
        """A_s, the base's attention with the feedback in its scores."""
        scale, bias = t.scale, neighbourhood(t, self.sigma) if self.base == "naclip" else None
        if same is not None:
            same = self.sfr * (same.half() if self.half else same)
            scale = t.scale * self.sfr_scale * (1 - self.sfr)
            fed = self.sfr_scale * F.pad(same.float(), (t.prefix, 0, t.prefix, 0))
            bias = fed[:, None] if bias is None else fed[:, None] + bias
        return sum(softmax(getattr(t, left), getattr(t, right), scale, bias) for left, right in BASES[self.base])


def patch_labels(probability: Tensor, threshold: float, patch: int, grid: tuple[int, int]) -> Tensor:
    """Most frequent query among each patch's pixels, the lowest of equals: (Q, H, W) -> (h·w,) int64.

    Pixels whose largest probability is below the threshold count as query 0; those beyond the last patch not at all.
    """
    best, query = probability.max(0)
    query = query.masked_fill(best < threshold, 0)[: grid[0] * patch, : grid[1] * patch]
    pixels = (
        query.unflatten(0, (grid[0], patch)).unflatten(2, (grid[1], patch)).transpose(1, 2).flatten(2).flatten(0, 1)
    )
    count = torch.zeros(len(pixels), len(probability), device=query.device)
    return count.scatter_add_(1, pixels, torch.ones_like(pixels, dtype=count.dtype)).argmax(1)


def feedback(
    labels: Tensor,
    grid: tuple[int, int],
    sigma: float = 5.0,
    sight: str = "released",
    blur: str = "raster",
    scaling: str = "global",
) -> Tensor:
    """Ŝ (P, P) in [0, 1] of one window's patch labels (P,)."""
    steps = on(labels.device, _steps, grid)
    far = torch.exp(-steps / max(1, max(grid) - 1))
    same = (labels[:, None] == labels) * torch.where(in_sight(labels, grid, sight), 1.0, far)
    same = _smooth(same, sigma) if blur == "raster" else _smooth_grid(same, grid, sigma)
    same = same / (same.sum(1, keepdim=True) + 1e-8)
    return same / (same.max() if scaling == "global" else same.amax(1, keepdim=True))


def _smooth(rows: Tensor, sigma: float) -> Tensor:
    """(R, L) along the second axis, zeros beyond its ends."""
    size = min(rows.shape[1], int(6 * sigma + 1))
    reach = size // 2
    offset = torch.arange(-reach, reach + 1, device=rows.device)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    return F.conv1d(rows[:, None], (kernel / kernel.sum())[None, None], padding=reach)[:, 0]


def _smooth_grid(rows: Tensor, grid: tuple[int, int], sigma: float) -> Tensor:
    """(P, h·w): each row as a picture, along its columns and along its rows."""
    picture = rows.unflatten(1, grid)
    for _ in range(2):
        picture = _smooth(picture.flatten(0, 1), sigma).view_as(picture).transpose(1, 2)
    return picture.flatten(1)


def in_sight(labels: Tensor, grid: tuple[int, int], rule: str) -> Tensor:
    """V (P, P), bool: whether only patches of one label lie between two, by the rule of that name."""
    if rule == "component":
        return _connected(labels, grid)
    seen = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device)
    for between in on(labels.device, sight_lines, grid, rule):
        seen &= labels[between.long()] == labels[:, None]
    return seen


def _connected(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Whether two patches belong to one 8-connected component of equal labels, (P, P)."""
    picture, together = labels.view(grid).cpu().numpy(), torch.zeros(len(labels), len(labels), dtype=torch.bool)
    for value in labels.unique().tolist():
        component = torch.from_numpy(label(picture == value, structure=[[1] * 3] * 3)[0]).flatten()
        together |= (component[:, None] == component) & (component > 0)
    return together.to(labels.device)


def _steps(grid: tuple[int, int]) -> Tensor:
    """Chebyshev distance of each two patches, (P, P), fp32."""
    rows, columns = _coordinates(grid)
    return torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())


def _coordinates(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of every patch, fp32."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid), indexing="ij")
    return rows.flatten(), columns.flatten()


@lru_cache(maxsize=8)
def sight_lines(grid: tuple[int, int], rule: str) -> Tensor:
    """(c_max + 1, P, P) int16: the patches met on the way from i to j; where nothing is looked at, i itself.

    They depend on the grid alone. Points are rounded half to even; those of 'released' are start·(1 - t) + end·t in
    fp32, as there, which decides where a point lies half way.
    """
    steps, longest = _steps(grid), max(1, max(grid) - 1)
    rows, columns = _coordinates(grid)
    start = torch.arange(len(rows))[:, None].expand(len(rows), len(rows))
    lines = []
    for k, t in enumerate(torch.linspace(0, 1, longest + 1)):
        if rule == "line":
            points = (a[:, None] + (a - a[:, None]) * k / steps.clamp(min=1) for a in (rows, columns))
        else:
            points = (a[:, None] * (1 - t) + a * t for a in (rows, columns))
        row, column = (point.round() for point in points)
        lines.append(torch.where(k <= steps, (row * grid[1] + column).long(), start).to(torch.int16))
    return torch.stack(lines)
