"""From score maps to labels, band of rows by band of rows, so that no (Q, H, W) tensor is held.

A picture's scores are `StitchedMaps` (patch scores and the stitching operator) or, after a refinement, `DenseMaps`.
Both render bands (Q, rows, W). Labels as published:

    p = softmax over all queries of (logit_scale · score);   class probability = max of p over the class's queries
    foreground classes with few pixels drop out (SCLIP's area filter);   label = argmax over classes
    label = background wherever the largest class probability is below a threshold

The maximum commutes with the softmax, so classes are merged first and only the normaliser sees every query.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

BAND_BYTES = 32 * 2**20


@dataclass(frozen=True)
class StitchedMaps:
    """Score maps R L Cᵀ of a picture. `lattice` L (Q, gh, gw), `rows` R (H, gh), `columns` C (W, gw), fp32."""

    lattice: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.lattice), len(self.rows), len(self.columns)

    def bands(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows and their scores (Q, rows, W), from top to bottom."""
        wide = self.lattice @ self.columns.T
        for band in row_bands(self.shape):
            touched = self.rows[band].any(0).nonzero()
            near = slice(int(touched[0]), int(touched[-1]) + 1)
            yield band, self.rows[band, near] @ wide[:, near]

    def dense(self) -> Tensor:
        """All score maps at once, (Q, H, W)."""
        return self.rows @ (self.lattice @ self.columns.T)


@dataclass(frozen=True)
class DenseMaps:
    """Score maps (Q, H, W) held whole, as a refinement needs them."""

    scores: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.scores.shape)

    def bands(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows and their scores (Q, rows, W), from top to bottom."""
        for band in row_bands(self.shape):
            yield band, self.scores[:, band]

    def dense(self) -> Tensor:
        """All score maps at once, (Q, H, W)."""
        return self.scores


def row_bands(shape: tuple[int, int, int]) -> Iterator[slice]:
    """Row intervals of a (Q, H, W) map of some 32 MB of fp32 each."""
    queries, height, width = shape
    step = max(1, BAND_BYTES // (4 * queries * width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


@dataclass(frozen=True)
class Labelling:
    """How score maps become labels.

    Args:
        sizes: (K,) how many queries each class has; queries are in class order.
        logit_scale: factor of the cosines before the softmax.
        background: class index of the background, or None.
        background_threshold: pixels whose largest class probability is below it become background; 0 is off.
        min_area: foreground classes with at most this share of all foreground pixels drop out; 0 is off.
    """

    sizes: Tensor
    logit_scale: float
    background: int | None = None
    background_threshold: float = 0.0
    min_area: float = 0.0

    def to(self, device: torch.device) -> "Labelling":
        """The same rule, its tensor on `device`."""
        return replace(self, sizes=self.sizes.to(device))

    @property
    def classes(self) -> int:
        """K"""
        return len(self.sizes)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Class probabilities (K, rows, W) of scores (Q, rows, W)."""
        return self.merge((self.logit_scale * scores).softmax(0))

    def merge(self, queries: Tensor) -> Tensor:
        """Maximum over each class's queries: (Q, rows, W) -> (K, rows, W)."""
        if len(queries) == self.classes:
            return queries
        return torch.segment_reduce(queries, "max", lengths=self.sizes, axis=0)

    def labels(self, maps: StitchedMaps | DenseMaps) -> Tensor:
        """Labels (H, W), int64."""
        labels = torch.empty(maps.shape[1:], dtype=torch.long, device=self.sizes.device)
        for band, scores in maps.bands():
            labels[band] = self._band(scores)
        if self.min_area and not (kept := self.large_enough(labels)).all():
            for band, scores in maps.bands():
                labels[band] = self._band(scores, kept)
        return labels

    def _band(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        merged = self.merge(scores)
        if kept is not None:
            merged = merged.masked_fill(~kept[:, None, None], -torch.inf)
        best, label = merged.max(0)
        if self.background_threshold:
            normaliser = (self.logit_scale * (scores - best)).exp_().sum(0)
            label[1 / normaliser < self.background_threshold] = self.background
        return label

    def large_enough(self, labels: Tensor) -> Tensor:
        """(K,) which classes survive SCLIP's area filter; the background and classes without a pixel always do."""
        count = labels.flatten().bincount(minlength=self.classes)
        foreground = count.sum() - count[self.background]
        kept = (count > self.min_area * foreground) | (count == 0)  # an absent class has nothing to lose
        kept[self.background] = True
        return kept
