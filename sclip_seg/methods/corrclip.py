"""CorrCLIP (ICCV 2025, arXiv 2411.10086): patches look at each other within regions, and a region has one label.

With f̂ the unit sums q + k of a guide's last block (DINO) on its own grid, S = f̂ f̂ᵀ, μ the mean of S over the window,
and m the regions there, U being void:

    regions whose mean features are as close as max cos - 0.2 are one, transitively; never U
    i sees j  iff  m_i = m_j ≠ U, or one of them lies in U and S_ij > μ;   A = softmax(4 S) over what is seen
    main = W_o A V(X^(L-1)) + b_o;   spatial = the same of the mean of X^6 .. X^10
    semantic = c_r^L, a class token c_r for each region r that in every block queries the class token and r's patches
    F = (LN_post(main) + LN_post(spatial) + 0.5 LN_post(semantic)) proj

on the guide's grid; V resampled bilinearly to it, regions by the nearest cell. Nothing that the other tokens see
changes, so that c_r is read beside the trunk. `RegionVote` gives each region its commonest label, and ends it.

Official code: github.com/zdk258/CorrCLIP, v1. There U is the smallest number of a window's regions, whatever it is
(`void='smallest'`): where nothing is void, a region becomes U, is not merged, and does not vote. 'explicit' is void
alone. S > μ is decided there in half precision, here in fp32. Windows are padded there to multiples of 56, here to what
both grids divide. The joining is released as DBSCAN with one sample, which has no noise: these very components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..picture.refine.region_vote import void_of
from ..regions.regions import VOID, nearest
from ..registry import GUIDES, REGIONS, TAILS
from ..settings import Positive, Share
from ..towers.attention import AttentionMaps
from ..towers.tail import Tail, cosines
from ..towers.together import once
from ..towers.trace import QKV, Trace, Trunk
from .proxyclip import resampled_values

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..regions.provider import RegionProvider
    from ..words.text import TextBank

SPATIAL = {12: range(6, 11), 24: range(11, 23), 32: range(3, 31)}  # blocks of the spatial stream, from 1, by depth
SEMANTIC = 0.5  # weight of the semantic stream


@dataclass(frozen=True)
class Scoped:
    """A window on the guide's grid (gh, gw): its regions after merging, who sees whom, and the three streams.

    `merged` (gh, gw) and `coarse` (h, w), on CLIP's grid; `attention` A (P, P); `side` c_r^L (R, C) in the order of
    the numbers in `coarse`; `main`, `spatial` and `semantic` (P, C).
    """

    merged: Tensor
    coarse: Tensor
    attention: Tensor
    side: Tensor
    main: Tensor
    spatial: Tensor
    semantic: Tensor


@TAILS.register_module()
class CorrCLIP(Tail):
    """Features on the guide's grid.

    Args:
        guide: config of a `Guide` that shows the q and k of its last block.
        regions: config of a `RegionProvider`, or its name.
        sharpness: the factor of S, 4.
        merge: how far below the largest cosine regions are joined, 0.2; None for no merging.
        void: 'smallest' as released, or 'explicit'.
    """

    needs_original = True
    looks_across = True

    needs_class_token = True  # which each region has one of its own of

    def __init__(
        self,
        guide: dict,
        regions: dict | str,
        sharpness: Positive = 4.0,
        merge: Share | None = 0.2,
        void: Literal["smallest", "explicit"] = "smallest",
    ) -> None:
        super().__init__()
        self.guide, self.regions = GUIDES.build(guide), REGIONS.build(regions)
        self.unit, self.sharpness, self.merge, self.void = self.guide.unit, sharpness, merge, void

    @property
    def provider(self) -> RegionProvider:
        return self.regions

    def reads(self, depth: int) -> Iterable[int]:
        """All inputs of blocks."""
        return [block - depth for block in range(-1, depth - 1)]

    def gather(self, trace: Trace, text: TextBank | None) -> dict[str, Tensor]:
        """The inputs of all blocks, (N, L, T, C), and the guide's features (N, C', H', W')."""
        states = torch.stack([trace.before(block) for block in range(trace.depth)], dim=1)
        return {"states": states, "guide": self.sums(trace)}

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, H', W') of windows without regions: all is void."""
        kept, nowhere = self.gather(trace, text), self.nowhere(trace)
        windows = zip(kept["states"], kept["guide"], strict=True)
        return torch.stack([self.scoped(trace, *window, trace.grid, nowhere) for window in windows])

    def read(self, picture: Picture) -> Scores:
        tiles = [
            cosines(self.scoped(picture.trunk, *window)[None], picture.text.features)
            for window in self.windows(picture)
        ]
        return picture.scored(torch.cat(tiles))

    def windows(self, picture: Picture) -> Iterable[tuple[Tensor, Tensor, tuple[int, int], Tensor]]:
        """Of each window the inputs of blocks, the guide's features, CLIP's grid and the regions."""
        grid = picture.plan.rows.patches, picture.plan.columns.patches
        kept, ids = picture.gathered, picture.regions_of_windows(self.regions)
        return ((s, f, grid, m) for s, f, m in zip(kept["states"], self.guided(picture), ids, strict=True))

    def guided(self, picture: Picture) -> Iterable[Tensor]:
        """The guide's features (C', H', W') of each window."""
        return picture.gathered["guide"]

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """A of windows without regions, the same for all heads."""
        return self.shown(self.sums(trace))

    def sums(self, trace: Trace) -> Tensor:
        """q + k of the guide's last block in windows, (N, C', H', W')."""
        pixels = trace.pixels
        return once("guide's q + k", self.guide, pixels, compute=lambda: self.guide.query_plus_key(pixels))

    def shown(self, features: Tensor) -> AttentionMaps:
        """A of windows with a guide's features (N, C', H', W') and no regions."""
        nowhere = torch.full(features.shape[2:], VOID, device=features.device)
        maps = torch.stack([self.scope(unit_rows(window), nowhere)[1] for window in features])
        return AttentionMaps(maps[:, None], tuple(features.shape[2:]), prefix=0)

    def nowhere(self, trace: Trace) -> Tensor:
        """A map without regions."""
        return torch.full(trace.grid, VOID, device=trace.image.device)

    def attention_across(self, picture: Picture, y: float, x: float) -> Tensor:
        """A's row of the point in the window whose middle is nearest; none looks into another window."""
        box = picture.plan.around(y, x)
        index = picture.plan.boxes().index(box)
        _, features, _, ids = list(self.windows(picture))[index]
        row, column = picture.plan.cell(y - box[0], x - box[1], tuple(features.shape[1:]))
        _, attention = self.scope(unit_rows(features), nearest(ids, tuple(features.shape[1:])))
        weights = attention.new_zeros(len(picture.plan), 1, *features.shape[1:])
        weights[index, 0] = attention[row * features.shape[2] + column].view(features.shape[1:])
        return weights

    def scoped(self, trunk: Trunk, states: Tensor, guide: Tensor, grid: tuple[int, int], ids: Tensor) -> Tensor:
        """Features (D, H', W') of one window; the arguments are those of `look`."""
        seen = self.look(trunk, states, guide, grid, ids)
        streams = (seen.main, 1.0), (seen.spatial, 1.0), (seen.semantic, SEMANTIC)
        total = sum(weight * trunk.tower.last_norm(stream).float() for stream, weight in streams)
        return trunk.tower.projected(total.to(trunk.dtype)).T.unflatten(1, guide.shape[1:])

    def look(self, trunk: Trunk, states: Tensor, guide: Tensor, grid: tuple[int, int], ids: Tensor) -> Scoped:
        """One window: inputs of all blocks (L, T, C), a guide's features (C', H', W'), CLIP's grid, regions (H, W)."""
        fine = tuple(guide.shape[1:])
        merged, attention = self.scope(unit_rows(guide), nearest(ids, fine))
        coarse = nearest(merged, grid)
        own = coarse.unique()
        side = side_tokens(trunk, states, coarse, own)
        mean = states[[*spatial_blocks(trunk.depth)]].float().mean(0).to(states.dtype)
        main, spatial = (mixed(trunk, tokens, grid, attention, fine) for tokens in (states[-1], mean))
        semantic = side[torch.searchsorted(own, nearest(coarse, fine).flatten())]
        return Scoped(merged, coarse, attention, side, main, spatial, semantic)

    def scope(self, unit: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (H', W') after merging, and A (P, P), fp32, of unit features (P, C') and regions on their grid."""
        void = void_of(ids, self.void)
        similar = unit @ unit.T
        merged = ids if self.merge is None else merge_regions(ids, unit, self.merge, void)
        return merged, scoped(similar, merged.flatten(), void, self.sharpness)


def spatial_blocks(depth: int) -> range:
    """Blocks, from 1, whose outputs make the spatial stream of a tower: from the third to the last but two."""
    last = min(max(depth - 2, 1), depth - 1)
    return SPATIAL.get(depth) or range(min(3, last), last + 1)


def unit_rows(features: Tensor) -> Tensor:
    """(C, H, W) -> (H·W, C), fp32, of unit length."""
    return F.normalize(features.float().flatten(1).T, dim=1)


def merge_regions(ids: Tensor, unit: Tensor, bound: float, void: int) -> Tensor:
    """Regions (H, W) joined by the features (H·W, C) of their cells; void keeps its number, which stays the smallest.

    The others are numbered anew, in the order of the first of each component, where there are two or more.
    """
    numbers, place = ids.flatten().unique(return_inverse=True)
    regions = numbers[numbers != void]
    if len(regions) < 2:
        return ids
    sums = unit.new_zeros(len(numbers), unit.shape[1]).index_add(0, place, unit)
    means = F.normalize(sums / place.bincount()[:, None], dim=1)[numbers != void]
    close = means @ means.T
    _, component = connected_components((close >= close.max() - bound).cpu().numpy(), directed=False)
    renumbered = numbers.clone()
    renumbered[numbers != void] = numbers.max() + 1 + torch.from_numpy(component).to(numbers)
    return renumbered[place].view_as(ids)


def scoped(similar: Tensor, ids: Tensor, void: int, sharpness: float) -> Tensor:
    """A (P, P) of S (P, P) within regions (P,)."""
    outside = ids == void
    seen = (ids[:, None] == ids) & ~outside
    seen |= (outside[:, None] | outside) & (similar > similar.mean())
    seen.diagonal().fill_(True)  # as it is but for rounding, where all features are one
    return (sharpness * similar).masked_fill_(~seen, -torch.inf).softmax(1)


def mixed(trunk: Trunk, tokens: Tensor, grid: tuple[int, int], attention: Tensor, fine: tuple[int, int]) -> Tensor:
    """W_o A V + b_o (P, C) of tokens (T, C), V being on the grid `fine` of A."""
    block = trunk.blocks[-1]
    values = resampled_values(QKV(block, block.normed(tokens[None]), grid, trunk.prefix), fine)[0]
    return block.output(attention.to(values.dtype) @ values)


def side_tokens(trunk: Trunk, states: Tensor, coarse: Tensor, regions: Tensor) -> Tensor:
    """c_r (R, C) of each region after the last block, which look at the tokens before each block, states (L, T, C)."""
    seen = F.pad(coarse.flatten() == regions[:, None], (trunk.prefix, 0), value=True)
    tokens = states[:1, 0].expand(len(regions), -1)[None]
    for block, state in zip(trunk.blocks, states, strict=True):
        own = QKV(block, block.normed(tokens), (0, 0), prefix=len(regions))  # none of which is a patch
        t = QKV(block, block.normed(state[None]), tuple(coarse.shape), trunk.prefix)
        tokens = tokens + t.output(F.scaled_dot_product_attention(own.q, t.k, t.v, attn_mask=seen))
        tokens = tokens + block.feed_forward(tokens)
    return tokens[0]
