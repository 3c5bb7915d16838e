"""Regions one by one: the box of each, and its mask within."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .regions import SURE, VOID, Regions, SoftRegions


@dataclass(frozen=True)
class Piece:
    """One region: `box` (top, left, bottom, right) in pixels, the ends beyond it, and `mask`, bool, within the box."""

    box: tuple[int, int, int, int]
    mask: Tensor

    def cut(self, picture: Tensor) -> Tensor:
        """Of a picture (..., H, W) what lies in the box, 0 outside the mask."""
        top, left, bottom, right = self.box
        return picture[..., top:bottom, left:right] * self.mask


def pieces(regions: Regions | SoftRegions, threshold: float = SURE) -> Iterator[Piece | None]:
    """Each region of a hard map by ascending number; each soft mask above `threshold`, None where no pixel is."""
    return _of_masks(regions, threshold) if isinstance(regions, SoftRegions) else _of_map(regions)


def _of_masks(regions: SoftRegions, threshold: float) -> Iterator[Piece | None]:
    for index in range(regions.count):
        inside = regions.masks(slice(index, index + 1))[0] > threshold
        rows, columns = (inside.any(axis).nonzero()[:, 0] for axis in (1, 0))
        if not len(rows):
            yield None
            continue
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        yield Piece(box, inside[box[0] : box[2], box[1] : box[3]])


def _of_map(regions: Regions) -> Iterator[Piece]:
    place = compact(regions).ids.long() + 1
    ends, count = [], int(place.max()) + 1
    for axis, side in enumerate(regions.size):
        where = torch.arange(side, device=place.device).view((-1, 1) if axis == 0 else (1, -1)).expand(regions.size)
        for extreme in ("amin", "amax"):
            of_all = where.new_zeros(count)
            ends.append(of_all.scatter_reduce(0, place.flatten(), where.flatten(), extreme, include_self=False))
    for number, (top, bottom, left, right) in enumerate(torch.stack(ends, dim=1)[1:].tolist(), start=1):
        yield Piece((top, left, bottom + 1, right + 1), place[top : bottom + 1, left : right + 1] == number)


def compact(regions: Regions) -> Regions:
    """The same regions numbered without gaps, in their order."""
    numbers, place = regions.ids.unique(return_inverse=True)
    return Regions((place - int(numbers[0] == VOID)).int())


def shares(regions: Regions, count: int, box: tuple[int, int, int, int], grid: tuple[int, int]) -> Tensor:
    """How many pixels of each of `count` regions lie in the cells of a `grid` (h, w) over a box: (R, h·w), fp32.

    The regions are numbered without gaps; a box, in pixels, may end beyond the picture.
    """
    inside, rows, columns = _within(box, regions.size, grid)
    cells = (rows[:, None] * grid[1] + columns).to(regions.ids.device)
    both = (regions.ids[inside].long() + 1) * (grid[0] * grid[1]) + cells
    counts = both.flatten().bincount(minlength=(count + 1) * grid[0] * grid[1])
    return counts.view(count + 1, -1)[1:].float()


def soft_shares(masks: Tensor, box: tuple[int, int, int, int], grid: tuple[int, int]) -> Tensor:
    """The same of probabilities (R, H, W), their sums: (R, h·w)."""
    inside, rows, columns = _within(box, tuple(masks.shape[1:]), grid)
    down, across = (F.one_hot(c, n).to(masks) for c, n in zip((rows, columns), grid, strict=True))
    return (down.T @ masks[(slice(None), *inside)] @ across).flatten(1)


def _within(
    box: tuple[int, int, int, int], size: tuple[int, int], grid: tuple[int, int]
) -> tuple[tuple[slice, slice], Tensor, Tensor]:
    """What of a picture of `size` lies in a box, and the row and column of the grid of each of its pixels."""
    top, left, bottom, right = box
    sides = zip((top, left), (bottom, right), size, grid, strict=True)
    return (slice(max(top, 0), bottom), slice(max(left, 0), right)), *(_cells(*side) for side in sides)


def _cells(start: int, end: int, side: int, count: int) -> Tensor:
    """The cell, of `count` from `start` to `end`, of each pixel between them that a side of `side` pixels has."""
    return (torch.arange(max(start, 0), min(end, side)) - start) * count // (end - start)
