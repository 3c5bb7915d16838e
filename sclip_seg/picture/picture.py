"""One picture on its way: what a method may look at of it, and its scores before they are stitched."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..bars import Bar
from ..errors import InputError
from ..regions.provider import RegionProvider
from ..regions.regions import MOST, Regions, SoftRegions, nearest
from ..towers.encoder import DenseCLIP
from ..towers.guide import Guide, LastAttention
from ..towers.kept import on
from ..towers.tail import Gathered
from ..towers.together import once
from ..towers.trace import Trunk
from ..words.text import TextBank
from .scores import DenseMaps, Labelling, StitchedMaps
from .window import Axis, Windows, bilinear

T = TypeVar("T")
GLANCE = 2.0  # seconds
RIM = MOST + 1  # what a window is padded with is a region of its own


@dataclass(frozen=True)
class Whole:
    """One grid of cells that lies over a whole picture of `size` (h, w), the network's input."""

    size: tuple[int, int]

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """(top, left, bottom, right) of the one area there is."""
        return [(0, 0, *self.size)]


@dataclass(frozen=True)
class Scores:
    """Scores of a picture's patches: `tiles` (N, Q, h, w), fp32, each over one of the `boxes()` of `layout`."""

    tiles: Tensor
    layout: Windows | Whole

    def maps(self, size: tuple[int, int]) -> StitchedMaps | DenseMaps:
        """The score maps at `size` (H, W): windows as published (`window.py`), one grid by bilinear interpolation."""
        cells, device = tuple(self.tiles.shape[2:]), self.tiles.device
        if isinstance(self.layout, Whole):
            lattice = self.tiles[0]
            operators = (on(device, _enlarge, source, target) for source, target in zip(cells, size, strict=True))
        else:
            lattice, axes = self.layout.lattice(self.tiles), (self.layout.rows, self.layout.columns)
            sides = zip(axes, size, cells, strict=True)
            operators = (on(device, Axis.operator, axis, target, count) for axis, target, count in sides)
        return StitchedMaps(lattice, *operators, at=self.maps)

    def on(self, plan: Windows, grid: tuple[int, int]) -> Tensor:
        """The scores on `grid` (h, w) over each window of `plan`, (N, Q, h, w), resampled bilinearly from elsewhere."""
        if self.layout == plan:
            return _resampled(self.tiles, grid)
        whole = self.maps((plan.rows.side, plan.columns.side)).dense()
        return torch.cat([_resampled(window, grid) for window in plan.cut([whole], 1)])


class PixelScores(Scores):
    """Scores (1, Q, H, W) of the whole picture's pixels."""

    def maps(self, size: tuple[int, int]) -> DenseMaps:
        held = DenseMaps(self.tiles[0])
        return held if held.shape[1:] == tuple(size) else held.at(size)


def _resampled(tiles: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(tiles.shape[2:]) == tuple(grid):
        return tiles
    return F.interpolate(tiles, grid, mode="bilinear", align_corners=False)


def _enlarge(source: int, target: int) -> Tensor:
    return bilinear(source, target).float()


@dataclass(frozen=True)
class Picture:
    """A picture whose windows went through the trunk.

    `image` (3, h, w) is the network's input, normalised; `fitted` the same as windows were cut from it; `size` (H, W)
    that of the labels; `original` (3, H, W) the picture as the pipeline delivered it, uint8 BGR, where something asked
    for it, and `name` its file's, without the suffix. `plan` are the windows, `gathered` what the tail kept of each,
    `whole` what it kept of the picture as one window, where it asks for that. Where a stage asks for them, `patches`
    (N, D, h, w) are the features of the windows, `summaries` (N, D) the unit feature of each as a whole, `overall`
    (1, D) that of the picture. `text` the queries, `rule` what their scores become labels by, `trunk` the parts that
    the end of the network is read with, `provider` who finds the regions that the method looks at, if it does. A
    second model is asked when something first wants to know, and once. `tower` is for who shows it more than windows,
    `names` what the classes are called.
    """

    image: Tensor
    fitted: Tensor
    size: tuple[int, int]
    plan: Windows
    gathered: Gathered
    text: TextBank
    trunk: Trunk
    batch: int
    rule: Labelling
    original: Tensor | None = None
    whole: Gathered | None = None
    name: str = ""
    provider: RegionProvider | None = None
    patches: Tensor | None = None
    summaries: Tensor | None = None
    overall: Tensor | None = None
    tower: DenseCLIP | None = None
    names: tuple[str, ...] = ()
    _known: dict[Hashable, object] = field(default_factory=dict, repr=False)

    @property
    def labelling(self) -> Labelling:
        """What the scores become labels by. Who asks makes scores for that rule alone (`for_any_labelling`)."""
        self._known["labelling"] = True
        return self.rule

    def for_any_labelling(self) -> bool:
        """Whether nothing that was computed of the picture so far has asked how scores become labels."""
        return "labelling" not in self._known

    def scored(self, tiles: Tensor, whole: bool = False) -> Scores:
        """Tiles (N, Q, h, w) as scores of the windows; or, of a single one, of the `whole` picture."""
        return Scores(tiles, Whole(tuple(self.fitted.shape[1:])) if whole else self.plan)

    def scored_by_pixels(self, scores: Tensor) -> Scores:
        """Scores (Q, H, W) of the picture's own pixels."""
        return PixelScores(scores[None], Whole(tuple(self.fitted.shape[1:])))

    def windows(self) -> Iterator[Tensor]:
        """The windows as RGB in [0, 1], (n, 3, h, w), in batches."""
        return (self.trunk.rgb(batch) for batch in self.plan.batches([self.fitted], self.batch))

    def summary(self, of: str) -> Tensor:
        """Unit features of each 'window' as a whole, (N, D), or of the whole 'picture', (1, D), fp32."""
        return self.summaries if of == "window" else self.overall

    def features(self, guide: Guide) -> Tensor:
        """The guide's features of each window, (N, C, h, w)."""
        return self.once((guide, "features"), lambda: torch.cat([guide(window) for window in self.windows()]))

    def whole_features(self, guide: Guide) -> Tensor:
        """The guide's features of the original as one picture, (1, C, h, w), at the nearest size that it divides."""
        place, compute = str(self.image.device), partial(self._whole_features, guide)
        return self.once((guide, "whole features"), lambda: once("whole", guide, place, self.original, compute=compute))

    def values(self, guide: Guide) -> Tensor:
        """The values of the guide's last block in each window, heads joined, (N, C, h, w)."""
        return self.once((guide, "values"), lambda: torch.cat([_values(guide, window) for window in self.windows()]))

    def last_attention(self, guide: Guide) -> LastAttention:
        """The guide's last block over the whole picture, as `view` shows it."""
        picture = self.view()
        return once("last attention", guide, picture, compute=lambda: guide.last_attention(picture))

    def regions(self, provider: RegionProvider | None) -> Regions:
        """The regions as a hard map, at the picture's full size (H, W); None: those that the method looks at."""
        provider = provider or self.provider
        if provider is None:
            raise InputError("regions=None takes those that the method looks at, and this method looks at none")
        return self.once((provider, "regions"), lambda: self.proposals(provider).hard())

    def proposals(self, provider: RegionProvider) -> Regions | SoftRegions:
        """The regions as they were found, at the picture's full size: masks may overlap."""
        return self.once((provider, "proposals"), lambda: self._proposals(provider))

    def regions_of_windows(self, provider: RegionProvider) -> Tensor:
        """The hard map in each window, at its pixels, (N, h, w), int64; the windows' padding is a region, RIM."""
        ids = nearest(self.regions(provider).ids.long(), tuple(self.fitted.shape[1:]))
        return torch.cat([window[:, 0] for window in self.plan.cut([ids[None]], len(self.plan), RIM)])

    def view(self) -> Tensor:
        """The original as RGB in [0, 1], (1, 3, H, W), its sides brought to multiples of CLIP's patch by cv2."""
        place = self.trunk.patch, str(self.image.device)
        return self.once("view", lambda: once("view", *place, self.original, compute=self._view))

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed when `key` is first asked for."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def pixels(self) -> np.ndarray:
        """The original, (H, W, 3) uint8 RGB. Raises InputError where it was not given."""
        if self.original is None:
            raise InputError("the picture is looked at in its full size; give the data as the pipeline does")
        return np.ascontiguousarray(self.original.permute(1, 2, 0).cpu().numpy()[:, :, ::-1])

    def _proposals(self, provider: RegionProvider) -> Regions | SoftRegions:
        found = once("regions", provider, self.original, compute=lambda: provider(self.pixels(), self.name))
        return found.to(self.image.device)

    def _whole_features(self, guide: Guide) -> Tensor:
        rgb = torch.from_numpy(self.pixels()).permute(2, 0, 1)[None].to(self.image.device).float() / 255
        return guide(in_units(rgb, guide.unit))

    def _view(self) -> Tensor:
        pixels = self.pixels()
        height, width = (-(-side // self.trunk.patch) * self.trunk.patch for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.image.device).float() / 255


def in_units(image: Tensor, unit: int) -> Tensor:
    """Pictures (N, 3, H, W), their sides brought bilinearly to the nearest multiples of `unit` pixels."""
    size = tuple(max(1, round(side / unit)) * unit for side in image.shape[2:])
    return image if size == tuple(image.shape[2:]) else F.interpolate(image, size, mode="bilinear", align_corners=False)


def _values(guide: Guide, window: Tensor) -> Tensor:
    return once("guide's values", guide, window, compute=lambda: guide.values(window))


def regrouped(parts: Iterable[Gathered], count: int, pictures: int | None = None) -> Iterator[Gathered]:
    """Windows in batches of any length -> `count` of them at a time, those of one picture.

    A bar counts the windows, of so many `pictures`, for whoever waits for longer than a glance.
    """
    held: list[Gathered] = []
    total = pictures and pictures * count
    with Bar(total=total, desc="windows", unit="window", leave=False, delay=GLANCE) as bar:
        for part in parts:
            held.append(part)
            bar.update(_length(part))
            while sum(_length(some) for some in held) >= count:
                joined = _joined(held)
                yield _cut(joined, slice(count))
                held = [_cut(joined, slice(count, None))]


def _length(part: Gathered) -> int:
    return _length(next(iter(part.values()))) if isinstance(part, dict) else len(part)


def _joined(parts: list[Gathered]) -> Gathered:
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return torch.cat(parts)


def _cut(part: Gathered, which: slice) -> Gathered:
    return {name: _cut(own, which) for name, own in part.items()} if isinstance(part, dict) else part[which]
