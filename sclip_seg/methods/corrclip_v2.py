"""CorrCLIPv2: CorrCLIP with another guide, no merging, and a memory of regions (arXiv 2411.10086, its repository).

CorrCLIP's scope, streams and vote (`corrclip.py`), with these differences:

    the guide (RADIO) sees the whole picture; its features, unit at each pixel, are cut like it, on twice CLIP's grid
    q_r = unit mean of them over region r, void too;   N_r = the 20 regions of a bank with the likest keys
    support_r = cos(mean of their values, texts);   scores = 0.5 dense + 0.5 support_r on all of r

With values of a second CLIP in the bank, support is the mean of both, each against its own texts. Official code:
github.com/zdk258/CorrCLIP, v2, whose index is approximate (IVFPQ on unit keys); here the search is exact. Its README
calls the row without a bank "CorrCLIP".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.picture import in_units
from ..picture.window import bilinear
from ..regions.bank import RegionBank, region_means, support
from ..regions.regions import nearest
from ..registry import MODELS, TAILS
from ..settings import Count, Positive, Share
from ..towers.attention import AttentionMaps
from ..towers.trace import Trace
from .corrclip import CorrCLIP

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..towers.encoder import DenseCLIP
    from ..words.text import TextBank


@TAILS.register_module()
class CorrCLIPv2(CorrCLIP):
    """Features on a grid finer than CLIP's, and scores with the support of a bank.

    Args:
        guide: config of a `Guide`.
        regions: config of a `RegionProvider`, or its name.
        bank: file of a `RegionBank` made with that guide, None for none.
        neighbours: how many of its regions are looked up.
        weight: of the support, beside the dense scores.
        search: 'exact', or 'faiss' with that library's exact index.
        auxiliary: config of the `DenseCLIP` whose texts the bank's auxiliary values are held against; None leaves
            these out.
        finer: cells of the grid to a patch, a side.
        sharpness, void: as of `CorrCLIP`.
    """

    def __init__(
        self,
        guide: dict,
        regions: dict | str,
        bank: str | None = None,
        neighbours: Count = 20,
        weight: Share = 0.5,
        search: Literal["exact", "faiss"] = "exact",
        auxiliary: dict | None = None,
        finer: Count = 2,
        sharpness: Positive = 4.0,
        void: Literal["smallest", "explicit"] = "smallest",
    ) -> None:
        super().__init__(guide, regions, sharpness, None, void)
        self.unit, self.finer = 1, finer  # the guide sees no windows
        self.bank = None if bank is None else RegionBank.load(bank)
        self.neighbours, self.weight, self.search = neighbours, weight, search
        if self.bank is not None and self.bank.made.get("guide", self.guide.digest) != self.guide.digest:
            raise InputError(f"the bank {self.bank.name} was made with another guide than the model's")
        if auxiliary is not None and (self.bank is None or self.bank.auxiliary is None):
            raise InputError("auxiliary is the tower of a bank's auxiliary values, and there are none")
        plain = dict(type="LastBlock", attention="qk")
        self.auxiliary = None if auxiliary is None else MODELS.build({"tail": plain, **auxiliary})

    @property
    def second_tower(self) -> DenseCLIP | None:
        """That of the auxiliary values."""
        return self.auxiliary

    def gather(self, trace: Trace, text: TextBank | None) -> dict[str, Tensor]:
        """The inputs of all blocks, (N, L, T, C)."""
        return {"states": torch.stack([trace.before(block) for block in range(trace.depth)], dim=1)}

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, H', W') of windows, each a whole picture to the guide, without regions."""
        states, guided, nowhere = self.gather(trace, text)["states"], self.alone(trace), self.nowhere(trace)
        windows = zip(states, guided, strict=True)
        return torch.stack([self.scoped(trace, *window, trace.grid, nowhere) for window in windows])

    def alone(self, trace: Trace) -> Tensor:
        """The guide's features (N, C', H', W') of windows, each a picture by itself."""
        grid = tuple(self.finer * side for side in trace.grid)
        seen = self.guide(in_units(trace.pixels, self.guide.unit)).float()
        return F.interpolate(F.normalize(seen, dim=1), grid, mode="bilinear", align_corners=False)

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        return self.shown(self.alone(trace))

    def guided(self, picture: Picture) -> Iterable[Tensor]:
        (whole,), plan = picture.whole_features(self.guide).float(), picture.plan
        rows, columns = self.operators(whole, picture.fitted)
        grid = tuple(self.finer * axis.patches for axis in (plan.rows, plan.columns))
        margins = (plan.columns.before, plan.columns.after, plan.rows.before, plan.rows.after)
        for top, left, bottom, right in plan.boxes():
            pixels = F.normalize(rows[top:bottom] @ whole @ columns[left:right].T, dim=0)
            pixels = F.pad(pixels[None], margins, mode="replicate")
            yield F.interpolate(pixels, grid, mode="bilinear", align_corners=False)[0]

    def operators(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """What brings features (C, h, w) to the pixels of an image (3, H, W): (H, h) and (W, w)."""
        sides = zip(features.shape[1:], image.shape[1:], strict=True)
        return tuple(bilinear(source, target).to(features) for source, target in sides)

    def read(self, picture: Picture) -> Scores:
        dense = super().read(picture)
        if self.bank is None:
            return dense
        ids = nearest(picture.regions(self.regions).ids, tuple(picture.fitted.shape[1:]))
        numbers, place = ids.unique(return_inverse=True)
        supported = self.support(self.queries(picture, place, len(numbers)), picture.text)
        maps = dense.maps(tuple(ids.shape)).dense() * (1 - self.weight)
        for query, scores in zip(maps, supported.T, strict=True):
            query += self.weight * scores[place]
        return picture.scored(maps[None], whole=True)

    def queries(self, picture: Picture, place: Tensor, count: int) -> Tensor:
        """q_r (R, C') of the regions that pixels of the network's input lie in, `place` (H, W)."""
        (whole,) = picture.whole_features(self.guide).float()
        return region_means(whole, place, count, self.operators(whole, picture.fitted))

    def support(self, queries: Tensor, text: TextBank) -> Tensor:
        """Cosines (R, Q) of what lies near queries (R, C') in the bank with the texts."""
        search = self.bank.nearest if self.search == "exact" else self.bank.by_faiss
        near = search(queries, self.neighbours)
        own = support(near, self.bank.values, text.features)
        return own if text.second is None else (own + support(near, self.bank.auxiliary, text.second)) / 2
