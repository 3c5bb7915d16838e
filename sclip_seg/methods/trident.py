"""Trident (Shi et al., ICCV 2025, arXiv 2411.09219): splice the windows' features, then segment.

Each window's last block is ProxyCLIP's with DINO as its guide, up to W_o, except that mean S is taken over all windows
of the picture. These features, not scores, are averaged on one canvas of CLIP's patches, brought to the grid of SAM's
tokens and mixed by the attention W^k and the values a^k of SAM's last block, heads k:

    C^k_ij = cos(a^k_i, a^k_j);   τ_i = min(κ · mean over k and j of C^k_ij, 0.9)
    M_ij = mean_k W^k_ij [C^k_ij > τ_i];   A = M, rows scaled to sum 1;   F = LN_post(A G) proj

κ is 1.2 (0 on VOC20, 3 on Cityscapes). On Cityscapes and ADE20K negative thresholds become 0.6, which the released
`refine_neg_cos=False` does, its name being the wrong way round: `mend_negative=True` here. Cityscapes' pictures are cut
into two halves for SAM (`halves`). Pictures are brought to multiples of CLIP's patch, aspect slightly changed, as
released; SAM sees the picture at its full size. `SAMRefinement` is the refinement that the released code ends with.
Official code: github.com/YuHengsss/Trident (`open_clip/transformer.py`, `trident.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.window import Windows, brought_to, rounded_up
from ..registry import GUIDES, TAILS
from ..settings import Real
from ..towers.attention import AttentionMaps
from ..towers.tail import Tail, cosines
from ..towers.trace import Trace
from .proxyclip import guided, proxy_maps, proxy_weights

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..towers.guide import LastAttention
    from ..towers.trace import Trunk
    from ..words.text import TextBank

CEILING, MENDED = 0.9, 0.6


@TAILS.register_module()
class Trident(Tail):
    """Windows -> features on one canvas -> the affinity's grid -> scores.

    Args:
        guide: config of the `Guide` of the windows (DINO ViT-B/16).
        affinity: config of the `Guide` of the picture (SAM), whose last block's attention is used.
        beta, gamma: ProxyCLIP's.
        cos_fac: κ.
        mend_negative: thresholds below 0 become 0.6.
        halves: the affinity of the picture's left and right half apart.
    """

    needs_original = True
    looks_across = True

    def __init__(
        self,
        guide: dict,
        affinity: dict,
        beta: Real = 1.2,
        gamma: Real = 3.0,
        cos_fac: Real = 1.2,
        mend_negative: bool = False,
        halves: bool = False,
    ) -> None:
        super().__init__()
        self.guide, self.affinity = GUIDES.build(guide), GUIDES.build(affinity)
        self.unit, self.beta, self.gamma = self.guide.unit, beta, gamma
        self.cos_fac, self.mend_negative, self.halves = cos_fac, mend_negative, halves

    def check_window(self, window: dict, patch: int) -> None:
        crop, stride = window["crop"], window["stride"]
        if window["padding"] != "stretch" or window["unit"]:
            raise InputError("Trident pads no window: leave window.padding and window.unit as they are")
        if crop is None or crop % patch or stride % patch or crop % self.unit:
            raise InputError(
                f"window.crop={crop}, window.stride={stride}: windows are joined patch by patch, so both must be "
                f"multiples of the patch ({patch}), and the crop of the guide's ({self.unit})"
            )

    def fitted(self, image: Tensor, window: dict, patch: int) -> Tensor:
        """(3, H, W) at multiples of the patch: the long side rounded up, the short one scaled and rounded up."""
        return brought_to(image, rounded_up(tuple(image.shape[1:]), patch, window["crop"]))

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, H', W') of windows on the guide's grid, each by itself: without splice and affinity."""
        features, values = guided(trace, self.guide).values()
        means = torch.stack([mean_similarity(window[None]) for window in features])
        tokens = self.mix(trace, features, values, means).flatten(2).transpose(1, 2)
        return trace.joint(tokens).transpose(1, 2).unflatten(2, features.shape[2:])

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """P of each window by itself; the affinity, which mixes the picture's windows afterwards, has no part in it."""
        return proxy_maps(self.guide(trace.pixels), self.beta, self.gamma)

    def gather(self, trace: Trace, text: TextBank) -> dict[str, Tensor]:
        return guided(trace, self.guide)

    def read(self, picture: Picture) -> Scores:
        canvas = self.splice(picture.trunk, picture.gathered["features"], picture.gathered["values"], picture.plan)
        strips = []
        for mixed, grid in self.aggregated(canvas, self.parts(picture)):
            tokens = mixed.to(picture.trunk.dtype)
            strips.append(picture.trunk.joint(tokens[None]).transpose(1, 2).unflatten(2, grid))
        return picture.scored(cosines(torch.cat(strips, dim=3), picture.text.features), whole=True)

    def attention_across(self, picture: Picture, y: float, x: float) -> Tensor:
        """How the values of all windows are mixed into the token of the affinity's grid that the point lies in.

        From values to tokens everything is linear: A's row goes back through the splice, then through each window's P.
        """
        features, parts = picture.gathered["features"], self.parts(picture)
        with torch.enable_grad():  # the gradient is what a linear map is, transposed
            tiles = torch.zeros_like(features[:, :1], dtype=torch.float32, requires_grad=True)
            strips = self.aggregated(spliced(tiles, picture.plan), parts)
            whole = torch.cat([mixed.view(grid) for mixed, grid in strips], dim=1)
            sides = zip((y, x), whole.shape, picture.fitted.shape[1:], strict=True)
            (back,) = torch.autograd.grad(whole[tuple(min(int(p * n / side), n - 1) for p, n, side in sides)], tiles)
        mean = mean_similarity(features)
        windows = zip(back.flatten(1), features.flatten(2).transpose(1, 2), strict=True)
        rows = [row @ proxy_weights(own, self.beta, self.gamma, mean) for row, own in windows]
        return torch.stack(rows).view_as(back)

    def splice(self, trunk: Trunk, features: Tensor, values: Tensor, plan: Windows) -> Tensor:
        """The canvas (C, rows, columns) of a picture's windows, at a whole number of cells a patch."""
        mean = mean_similarity(features)
        return spliced(self.mix(trunk, features, values, mean).float(), plan)

    def mix(self, trunk: Trunk, features: Tensor, values: Tensor, mean: Tensor) -> Tensor:
        """W_o P v + b_o (N, C, H', W') of windows with guide features (N, C', H', W'); `mean` of S, one or N.

        `values` (N, H'·W', C) are on the guide's grid.
        """
        windows = zip(features.flatten(2).transpose(1, 2), values, mean.expand(len(values)), strict=True)
        mixed = torch.stack([proxy_weights(f, self.beta, self.gamma, m).to(v.dtype) @ v for f, v, m in windows])
        return trunk.blocks[-1].output(mixed).transpose(1, 2).unflatten(2, features.shape[2:])

    def parts(self, picture: Picture) -> list[LastAttention]:
        """The affinity's last block over the picture, or over its halves apart."""
        if not self.halves:
            return [picture.last_attention(self.affinity)]
        halves = picture.view().tensor_split(2, dim=3)
        return picture.once((self, "halves"), lambda: [self.affinity.last_attention(half) for half in halves])

    def aggregated(self, canvas: Tensor, parts: list[LastAttention]) -> Iterator[tuple[Tensor, tuple[int, int]]]:
        """A G of each part, from left to right: tokens (T, C), and the affinity's grid that they lie on."""
        for own, last in zip(canvas.tensor_split(len(parts), dim=2), parts, strict=True):
            yield self.aggregate(own, last), last.grid

    def aggregate(self, canvas: Tensor, last: LastAttention) -> Tensor:
        """A G: the canvas (C, h, w) on the affinity's grid, mixed: (T, C), T tokens."""
        picture = F.interpolate(canvas[None].float(), last.grid, mode="bilinear", align_corners=False)[0]
        return masked_affinity(last, self.cos_fac, self.mend_negative) @ picture.flatten(1).T


def mean_similarity(features: Tensor) -> Tensor:
    """Mean of S over every window of (N, C, H', W'): that of f̂ᵢ·f̂ⱼ is the squared length of the mean f̂."""
    unit = F.normalize(features.flatten(2).float(), dim=1)
    return (unit.mean(2) ** 2).sum(1).mean()


def masked_affinity(last: LastAttention, cos_fac: float, mend_negative: bool) -> Tensor:
    """A (T, T), fp32; head by head, so that two maps are held and not one a head."""
    values = F.normalize(last.values.float(), dim=-1)
    threshold = cos_fac * torch.einsum("kid,kd->ik", values, values.mean(1)).mean(1)
    if mend_negative:
        threshold = threshold.masked_fill(threshold < 0, MENDED)
    threshold = threshold.clamp(max=CEILING)[:, None]
    total = sum(last.weights(head).float() * (v @ v.T > threshold) for head, v in enumerate(values))
    return total / total.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def spliced(tiles: Tensor, plan: Windows) -> Tensor:
    """Features (N, C, h', w') of the windows, averaged where they overlap: (C, rows, columns) cells.

    A patch has a whole number of cells; where the guide's grid is none, it is resampled to the nearest one.
    """
    patches = plan.rows.patches, plan.columns.patches
    cells = tuple(
        side if side % count == 0 else max(1, round(side / count)) * count
        for side, count in zip(tiles.shape[2:], patches, strict=True)
    )
    if cells != tuple(tiles.shape[2:]):
        tiles = F.interpolate(tiles, cells, mode="bilinear", align_corners=False)
    return plan.joined(tiles)
