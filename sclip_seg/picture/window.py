"""Sliding windows, and the stitching of their patch scores as a linear operator.

As published, a window's patch scores are upsampled bilinearly to its pixels, the windows are added up and divided by
the number of windows that cover a pixel, and the sum is resized bilinearly to the label's size. Each step is linear,
acts the same on every query and is a product of rows and columns. With L (gh, gw) the scores of all windows laid out
by window row and window column, the whole chain is R L Cᵀ, with R (H0, gh) and C (W0, gw) fixed by the sizes alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..settings import Count, Pixels
from ..towers.kept import on
from ..towers.together import is_shared, once

PADDINGS = ("stretch", "symmetric")
LARGEST = 2**24  # entries of an operator that is held as a matrix
GROUP = 64  # columns of one that are computed at a time
KEPT = 2**20  # entries of one that is kept for the next picture of that size


class WindowSettings(TypedDict, total=False):
    """Sliding windows; the keys are explained at `OpenVocabSegmentor` and `windows`."""

    crop: Pixels | None
    stride: Pixels | None
    batch: Count
    padding: Literal["stretch", "symmetric"]
    unit: Pixels | None


@dataclass(frozen=True)
class Axis:
    """One axis of the windows over a picture: `side`, `crop` and the windows' `starts`, in pixels.

    A window is seen as `patches` patches of `patch` pixels. `before` and `after` are the pixels of zeros put around
    it; with none, a side that the patch does not divide leaves its rest unseen and the grid is stretched over it.
    """

    side: int
    crop: int
    starts: tuple[int, ...]
    patch: int
    before: int = 0
    after: int = 0

    @property
    def patches(self) -> int:
        return (self.crop + self.before + self.after) // self.patch

    def operator(self, size: int, cells: int | None = None) -> "Tensor | Banded":
        """(size, windows · cells) fp32: scores along this axis -> scores at `size` pixels.

        `cells` of a window lie evenly over it and its padding; there is one to a patch unless said otherwise. What of
        a long side would be a matrix of more than `LARGEST` entries, nearly all of them zero, is `Banded`.
        """
        cells = cells or self.patches
        shape = size, len(self.starts) * cells
        if shape[0] * shape[1] > LARGEST:
            return Banded(tuple(_nonzero(self.strips(size, cells))), shape)
        return (_operator if shape[0] * shape[1] <= KEPT else _operator.__wrapped__)(self, size, cells)

    def strips(self, size: int, cells: int) -> Iterator[tuple[int, Tensor]]:
        """The operator (size, windows · cells) as its first column and (size, columns) fp32, a few columns at a time.

        Each is `bilinear(side, size) @ scores`, without that matrix: a long side has one of gigabytes.
        """
        cover = torch.zeros(self.side, 1, dtype=torch.float64)
        for start in self.starts:
            cover[start : start + self.crop] += 1
        for index, start in enumerate(self.starts):
            for left in range(0, cells, GROUP):
                seen = slice(left, min(left + GROUP, cells))
                enlarge = bilinear(cells, self.crop + self.before + self.after, seen)
                scores = torch.zeros(self.side, enlarge.shape[1], dtype=torch.float64)
                scores[start : start + self.crop] = (
                    enlarge[self.before : self.before + self.crop] / cover[start : start + self.crop]
                )
                strip = F.interpolate(scores.T[None], size=size, mode="linear", align_corners=False)[0].T
                yield index * cells + left, strip.float()

    def joined(self, cells: int) -> Tensor:
        """(side in cells, windows · cells) fp32: the average of the windows where they overlap, cell by cell.

        Starts and side are multiples of the patch, `cells` of the windows' patches.
        """
        per_patch = cells // self.patches
        matrix = torch.zeros(self.side // self.patch * per_patch, len(self.starts), cells, dtype=torch.float64)
        for index, start in enumerate(self.starts):
            first = start // self.patch * per_patch
            matrix[first : first + cells, index] = torch.eye(cells, dtype=torch.float64)
        matrix = matrix.flatten(1)
        return (matrix / matrix.sum(1, keepdim=True)).float()


def axis(
    side: int, crop: int | None, stride: int, patch: int, padding: str = "stretch", unit: int | None = None
) -> Axis:
    """mmseg's rule: starts at multiples of the stride, the last window moved back to end with the picture.

    `crop` None is the whole side. A side shorter than the crop is one window of that side.
    """
    crop = min(crop or side, side)
    count = max(side - crop + stride - 1, 0) // stride + 1
    starts = tuple(min(index * stride, side - crop) for index in range(count))
    short = -crop % (unit or patch) if padding == "symmetric" else 0
    return Axis(side, crop, starts, patch, short // 2, short - short // 2)


@lru_cache(maxsize=256)
def _operator(axis: Axis, size: int, cells: int) -> Tensor:
    operator = torch.empty(size, len(axis.starts) * cells)
    for left, strip in axis.strips(size, cells):
        operator[:, left : left + strip.shape[1]] = strip
    return operator


@dataclass(frozen=True)
class Banded:
    """An operator of `shape` (size, windows · cells) as strips: first row, first column, (rows, columns); else zero."""

    strips: tuple[tuple[int, int, Tensor], ...]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, device: torch.device) -> "Banded":
        """The same operator, its strips on `device`."""
        return Banded(tuple((top, left, strip.to(device)) for top, left, strip in self.strips), self.shape)

    def __getitem__(self, rows: slice) -> Tensor:
        """These rows as a matrix (rows, windows · cells)."""
        start, stop, _ = rows.indices(self.shape[0])
        piece = self.strips[0][2].new_zeros(stop - start, self.shape[1])
        for top, left, strip in self.strips:
            first, last = max(start, top), min(stop, top + len(strip))
            if first < last:
                piece[first - start : last - start, left : left + strip.shape[1]] = strip[first - top : last - top]
        return piece

    def across(self, scores: Tensor) -> Tensor:
        """Scores (..., windows · cells) -> (..., size)."""
        out = scores.new_zeros(*scores.shape[:-1], self.shape[0])
        for top, left, strip in self.strips:
            out[..., top : top + len(strip)] += scores[..., left : left + strip.shape[1]] @ strip.T
        return out


def _nonzero(strips: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[int, int, Tensor]]:
    for left, strip in strips:
        rows = strip.any(1).nonzero()[:, 0]
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        yield top, left, strip[top:bottom].clone()


def bilinear(source: int, target: int, columns: slice = slice(None)) -> Tensor:
    """(target, source) fp64: torch's linear interpolation, align_corners=False, as a matrix, or these columns of it."""
    first, last, _ = columns.indices(source)
    unit = torch.zeros(last - first, source, dtype=torch.float64)
    unit[:, first:last].fill_diagonal_(1)
    return F.interpolate(unit[None], size=target, mode="linear", align_corners=False)[0].T


@dataclass(frozen=True)
class Windows:
    """The windows over a picture of some size: a product of row and column intervals."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """(top, left, bottom, right) of every window, row by row."""
        return [
            (top, left, top + self.rows.crop, left + self.columns.crop)
            for top in self.rows.starts
            for left in self.columns.starts
        ]

    def around(self, y: float, x: float) -> tuple[int, int, int, int]:
        """The box of the window whose middle is nearest to a point, in pixels; the first of equals."""
        return min(self.boxes(), key=lambda box: (box[0] + box[2] - 2 * y) ** 2 + (box[1] + box[3] - 2 * x) ** 2)

    def area(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """What the network sees of a window's box: the margins of padding are in it."""
        top, left, bottom, right = box
        return top - self.rows.before, left - self.columns.before, bottom + self.rows.after, right + self.columns.after

    def cell(self, y: float, x: float, grid: tuple[int, int]) -> tuple[int, int]:
        """Row and column, on a grid (h, w) that lies over a window and its padding, of a point in the window."""
        places = zip((self.rows, self.columns), (y, x), grid, strict=True)
        return tuple(
            min(int((place + axis.before) * count / (axis.crop + axis.before + axis.after)), count - 1)
            for axis, place, count in places
        )

    def cut(self, pictures: Sequence[Tensor], batch: int, rim: float = 0) -> Iterator[Tensor]:
        """The windows of pictures (3, H, W), one picture after the other, padded if so asked, in batches (n, 3, h, w).

        A batch holds at most `batch` windows, of one picture or of several. `rim` is what they are padded with.
        """
        crops = (p[:, top:bottom, left:right] for p in pictures for top, left, bottom, right in self.boxes())
        while part := list(islice(crops, batch)):
            yield self.pad(torch.stack(part), rim)

    def batches(self, pictures: Sequence[Tensor], batch: int) -> Iterable[Tensor]:
        """As `cut`; the very same windows for all who share the pictures."""
        cut = self.cut(pictures, batch)
        return once("windows", *astuple(self), batch, pictures, compute=lambda: list(cut)) if is_shared() else cut

    def pad(self, crops: Tensor, rim: float = 0) -> Tensor:
        """Crops (n, 3, h, w) within their margins of `rim`, if any."""
        margins = (self.columns.before, self.columns.after, self.rows.before, self.rows.after)
        return F.pad(crops, margins, value=rim) if any(margins) else crops

    def lattice(self, scores: Tensor) -> Tensor:
        """Patch scores (N, Q, h, w) of all windows -> (Q, rows · h, columns · w)."""
        tiles = scores.unflatten(0, (len(self.rows.starts), len(self.columns.starts)))
        return tiles.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)

    def joined(self, tiles: Tensor) -> Tensor:
        """Cells (N, C, h, w) of all windows on one canvas (C, rows, columns), averaged where windows overlap.

        Starts and sides are multiples of the patch, h and w of a window's patches.
        """
        axes = zip((self.rows, self.columns), tiles.shape[2:], strict=True)
        rows, columns = (on(tiles.device, Axis.joined, axis, count).to(tiles) for axis, count in axes)
        return rows @ self.lattice(tiles) @ columns.T


def rounded_up(size: tuple[int, int], unit: int, least: int) -> tuple[int, int]:
    """Sides that are multiples of `unit`: the longer one rounded up, the other scaled and rounded up.

    None is below `least`; a size that is one already is left as it is.
    """
    if not any(side % unit for side in size):
        return size
    factor = -(-max(size) // unit) * unit / max(size)
    return tuple(max(-(-int(side * factor) // unit) * unit, least) for side in size)


def brought_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture (3, H, W), bilinearly at `size`."""
    if size == tuple(image.shape[1:]):
        return image
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]


def windows(
    size: tuple[int, int],
    crop: int | None,
    stride: int | None,
    patch: int,
    padding: str = "stretch",
    unit: int | None = None,
) -> Windows:
    """Windows over a picture of `size` (H, W): `crop` a side and `stride` apart, both in pixels.

    `crop` None is the whole picture as one window. `padding` 'stretch': a side that the patch does not divide loses
    its rest to the network and the grid is stretched over the window (SCLIP, NACLIP); 'symmetric': the window is
    padded with zeros to a multiple of `unit`, the patch if None, and the scores are cropped back (ClearCLIP).

    Raises:
        InputError: a crop or stride below one, a stride above the crop (pixels would be seen by no window).
    """
    if padding not in PADDINGS:
        raise InputError(f"window.padding is {padding!r}; choose one of {', '.join(PADDINGS)}")
    if unit is not None and unit < 1:
        raise InputError(f"window.unit is {unit}; it is a number of pixels, at least 1")
    if crop is not None and (crop < patch or stride is None or not 1 <= stride <= crop):
        raise InputError(
            f"window.crop={crop}, window.stride={stride}: needs {patch} (a patch) <= crop, 1 <= stride <= crop"
        )
    return Windows(*(axis(side, crop, stride or side, patch, padding, unit) for side in size))
