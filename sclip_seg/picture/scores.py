"""From score maps to labels, band of rows by band of rows, so that no (Q, H, W) tensor is held.

A picture's scores are `StitchedMaps` (patch scores and the stitching operator) or, after a refinement, `DenseMaps`.
Labels as published:

    p = softmax over all queries of (logit_scale · score);   class probability = max of p over the class's queries
    foreground classes with few pixels drop out (SCLIP's area filter);   label = argmax over classes
    label = background wherever the largest class probability is below a threshold

The best class is that of the best query, so classes are never merged for it, and the softmax is needed only where a
threshold asks for it: one maximum and one sum of exponentials over the queries of a band.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..towers.together import once
from .window import Banded

CPU = torch.device("cpu")
BAND_BYTES = 4 * 2**20  # a band and what is made of it stay in the cache
GPU_BAND_BYTES = 64 * 2**20  # of an accelerator, where each band costs some ten launches


@dataclass(frozen=True)
class StitchedMaps:
    """Score maps R L Cᵀ of a picture. `lattice` L (Q, gh, gw), `rows` R (H, gh), `columns` C (W, gw), fp32.

    `at` gives the same scores at another size (H, W).
    """

    lattice: Tensor
    rows: Tensor | Banded
    columns: Tensor | Banded
    at: Callable[[tuple[int, int]], "StitchedMaps"] | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, H, W)"""
        return len(self.lattice), len(self.rows), len(self.columns)

    def bands(self, scale: float) -> Iterator[tuple[slice, Tensor]]:
        """Rows and scale · scores (Q, rows, W), from top to bottom."""
        lattice = scale * self.lattice
        for band in row_bands(self.shape, lattice.device):
            yield band, self._across(self.rows[band] @ lattice)

    def dense(self) -> Tensor:
        """All score maps at once, (Q, H, W)."""
        wide = self._across(self.lattice)
        if isinstance(self.rows, Banded):
            return torch.cat([self.rows[band] @ wide for band in row_bands(self.shape)], dim=1)
        return self.rows @ wide

    def cells(self, factors: tuple[int, int]) -> Tensor:
        """Averages (Q, H // fy, W // fx) over cells of (fy, fx) pixels; what is left over at the ends is dropped."""
        rows, columns = (_averages(side, f) for side, f in zip((self.rows, self.columns), factors, strict=True))
        return rows @ self.lattice @ columns.T

    def _across(self, scores: Tensor) -> Tensor:
        return self.columns.across(scores) if isinstance(self.columns, Banded) else scores @ self.columns.T


@dataclass(frozen=True)
class DenseMaps:
    """Score maps (Q, H, W) held whole, as a refinement needs them."""

    scores: Tensor

    def at(self, size: tuple[int, int]) -> "DenseMaps":
        """The same maps resized bilinearly to (H, W)."""
        return DenseMaps(F.interpolate(self.scores[None], size, mode="bilinear", align_corners=False)[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, H, W)"""
        return tuple(self.scores.shape)

    def bands(self, scale: float) -> Iterator[tuple[slice, Tensor]]:
        """Rows and scale · scores (Q, rows, W), from top to bottom."""
        for band in row_bands(self.shape, self.scores.device):
            yield band, scale * self.scores[:, band]

    def dense(self) -> Tensor:
        """All score maps at once, (Q, H, W)."""
        return self.scores

    def cells(self, factors: tuple[int, int]) -> Tensor:
        """Averages (Q, H // fy, W // fx) over cells of (fy, fx) pixels; what is left over at the ends is dropped."""
        return F.avg_pool2d(self.scores[None], factors)[0]


def _averages(operator: Tensor | Banded, count: int) -> Tensor:
    """Of `count` rows each, as a matrix."""
    starts = range(0, len(operator) // count * count, count)
    return torch.stack([operator[start : start + count].mean(0) for start in starts])


def row_bands(shape: tuple[int, int, int], device: torch.device = CPU) -> Iterator[slice]:
    """Row intervals of a (Q, H, W) map, each some `BAND_BYTES` of fp32."""
    queries, height, width = shape
    step = max(1, (BAND_BYTES if device.type == "cpu" else GPU_BAND_BYTES) // (4 * queries * width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


@dataclass(frozen=True)
class Labelling:
    """How score maps become labels.

    Args:
        sizes: (K,) how many queries each class has; queries are in class order.
        logit_scale: factor of the cosines before the softmax; None where scores are probabilities already.
        background: class index of the background, or None.
        background_threshold: pixels whose largest class probability is below it become background; 0 is off.
        min_area: foreground classes with at most this share of all foreground pixels drop out; 0 is off.
        winner: (Q,) the class that each query speaks for: its own, but the lowest one for a query of several classes,
            whose equal scores rounding must not tell apart. None: each its own.
    """

    sizes: Tensor
    logit_scale: float | None
    background: int | None = None
    background_threshold: float = 0.0
    min_area: float = 0.0
    winner: Tensor | None = None

    def to(self, device: torch.device) -> "Labelling":
        """The same rule, its tensors on `device`."""
        winner = None if self.winner is None else self.winner.to(device)
        return replace(self, sizes=self.sizes.to(device), winner=winner)

    @property
    def scale(self) -> float:
        """The factor before the softmax. Raises InputError where there is none."""
        if self.logit_scale is None:
            raise InputError("logit_scale=None takes scores for probabilities; what is asked for needs their scale")
        return self.logit_scale

    @property
    def classes(self) -> int:
        """K"""
        return len(self.sizes)

    @cached_property
    def owner(self) -> Tensor:
        """(Q,) class index of each query, ascending."""
        return torch.arange(self.classes, device=self.sizes.device).repeat_interleave(self.sizes)

    @cached_property
    def classes_of_queries(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The classes of the queries, and those that they speak for, as numbers."""
        return tuple(self.owner.tolist()), tuple(self.speaks_for.tolist())

    @property
    def speaks_for(self) -> Tensor:
        """(Q,) the class that each query's pixels get."""
        return self.owner if self.winner is None else self.winner

    def probabilities(self, maps: StitchedMaps | DenseMaps) -> Tensor:
        """Class probabilities (K, H, W), before any class drops out."""
        _, height, width = maps.shape
        whole = torch.empty(self.classes, height, width, device=self.sizes.device)
        for band, merged in self.bands(maps):
            whole[:, band] = merged
        return whole

    def bands(self, maps: StitchedMaps | DenseMaps) -> Iterator[tuple[slice, Tensor]]:
        """Rows and class probabilities (K, rows, W), from top to bottom: `probabilities` that are never held whole."""
        for band, scores in maps.bands(self._factor):
            yield band, self.merge(scores if self.logit_scale is None else scores.softmax(0))

    def merge(self, queries: Tensor) -> Tensor:
        """Maximum over each class's queries: (Q, rows, W) -> (K, rows, W)."""
        if len(queries) == self.classes:
            return queries
        return torch.segment_reduce(queries, "max", lengths=self.sizes, axis=0, unsafe=True)

    def labels(self, maps: StitchedMaps | DenseMaps) -> Tensor:
        """Labels (H, W), int64. Ties go to the lower class."""
        settings = self.logit_scale, self.min_area, self.background, bool(self.background_threshold)
        best, doubt = once("best classes", maps, settings, self.classes_of_queries, compute=lambda: self.best(maps))
        if not self.background_threshold:
            return best
        return best.masked_fill(self.background_threshold * doubt > 1, self.background)

    def best(self, maps: StitchedMaps | DenseMaps) -> tuple[Tensor, Tensor]:
        """The best class (H, W) of those that stay, and where a threshold is set its doubt (H, W) (`decide`)."""
        labels = torch.empty(maps.shape[1:], dtype=torch.long, device=self.sizes.device)
        doubt = torch.empty(maps.shape[1:] if self.background_threshold else 0, device=self.sizes.device)
        for band, scores in maps.bands(self._factor):
            labels[band], new = self.decide(scores)
            if self.background_threshold:
                doubt[band] = new
        if self.min_area:
            self.drop_small(maps, labels, doubt)
        return labels, doubt

    def decide(self, scores: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Best class of scaled scores (Q, ...), and its doubt: 1 over its probability, empty without a threshold.

        `kept` (K,): the classes to choose from; all have their part in the softmax.
        """
        speaks_for = self.speaks_for
        if kept is None:
            best, query = scores.max(0)
        else:
            best, query = scores.masked_fill(~kept[self.owner][:, None], -torch.inf).max(0)
            speaks_for = torch.where(kept[speaks_for], speaks_for, self.owner)
        label = speaks_for[query]
        if not self.background_threshold:
            return label, best.new_zeros(())
        if self.logit_scale is None:
            return label, best.clamp(min=torch.finfo(best.dtype).tiny).reciprocal()
        return label, (scores - best).exp_().sum(0)

    @property
    def _factor(self) -> float:
        return 1.0 if self.logit_scale is None else self.logit_scale

    def drop_small(self, maps: StitchedMaps | DenseMaps, labels: Tensor, doubt: Tensor) -> None:
        """Gives the pixels of small classes to the best class that stays, in place."""
        kept = self.large_enough(labels)
        orphaned = ~kept[labels]
        if orphaned.any():
            for band, scores in maps.bands(self._factor):
                where = orphaned[band]
                labels[band][where], new = self.decide(scores[:, where], kept)
                if self.background_threshold:
                    doubt[band][where] = new

    def large_enough(self, labels: Tensor) -> Tensor:
        """(K,) which classes survive SCLIP's area filter; the background always does."""
        count = labels.flatten().bincount(minlength=self.classes)
        foreground = count.sum() - count[self.background]
        kept = count > self.min_area * foreground
        kept[self.background] = True
        return kept
