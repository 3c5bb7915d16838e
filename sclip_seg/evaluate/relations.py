"""SG-IoU (SCAN, arXiv 2312.04089): a pixel called by a wider word than its label is wrong in part only.

With n[p, g] pixels predicted p and labelled g, P_p and G_g their sums, F(c) the classes that a prediction for c may be
excused by:

    TP'_c = n[c,c] + Σ_{f in F(c)} n[f,c] β(f,c),   β(f,c) = (n[f,c] + n[f,f]) / P_f
    SG-IoU_c = TP'_c / (G_c + P_c - n[c,c])

It is no IoU, never below it, and in no column with it. F stands in a file, which the signature names: a line for a
class, `child: father; father`, by the names of the classes; `#` begins a remark. Whether a relation holds the other
way too is said by another line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, near
from ..handed_in import existing, read_text

Fathers = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Relations:
    """Of a class, by name, the classes that excuse it."""

    name: str
    fathers: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, spec: str) -> Relations:
        """From a file. Raises InputError for what is no line of it, and for a class with two lines."""
        path, found = existing(spec), {}
        if not path.is_file():
            raise InputError(f"the file of relations {spec} is missing")
        for number, line in enumerate(read_text(path, "the file of relations").splitlines(), start=1):
            child, colon, rest = (part.strip() for part in line.partition("#")[0].partition(":"))
            names = tuple(dict.fromkeys(name.strip() for name in rest.split(";") if name.strip()))
            if not child and not colon:
                continue
            if not child or not names or child in names:
                raise InputError(f"{path}, line {number}: a line is 'child: father; father', not {line.strip()!r}")
            if child in found:
                raise InputError(f"{path}, line {number}: {child!r} has a line already")
            found[child] = names
        return cls(path.stem, found)

    @property
    def told(self) -> str:
        """Name and digest, for the signature."""
        content = repr(sorted((child, sorted(names)) for child, names in self.fathers.items()))
        return f"sg:{self.name}#{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def of(self, classes: Sequence[str]) -> list[list[int]]:
        """F by class index. Raises InputError for a name that is no class."""
        index = {name: place for place, name in enumerate(classes)}
        for name in [*self.fathers, *(name for names in self.fathers.values() for name in names)]:
            if name not in index:
                raise InputError(f"the relations {self.name} name {name!r}, which is no class{near(name, classes)}")
        return [sorted(index[father] for father in self.fathers.get(name, ())) for name in classes]


def taken_for_fathers(counts: np.ndarray, fathers: Fathers) -> np.ndarray:
    """Of counts (K, K), label by row: the pixels of class c that are called its j-th father, (most fathers, K)."""
    rows = np.zeros((max(map(len, fathers), default=0), len(fathers)), np.int64)
    for child, own in enumerate(fathers):
        rows[: len(own), child] = counts[child, list(own)]
    return rows


def excused(rows: np.ndarray, fathers: Fathers, agreement: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """TP' - n[c,c] (K,), of `taken_for_fathers`, n[c,c] and P, summed over pictures."""
    granted = np.zeros(len(fathers))
    for child, own in enumerate(fathers):
        for row, father in enumerate(own):
            share = (rows[row, child] + agreement[father]) / predicted[father] if predicted[father] else 1.0
            granted[child] += rows[row, child] * share
    return granted


def scores(granted: np.ndarray, agreement: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> dict:
    """Of true positives, counted or granted (K,): IoU and accuracy by class, and means, in percent.

    A class that is nowhere has nan and no part in a mean; one that is only predicted has an IoU of 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100 * granted / (predicted + labelled - agreement)
        accuracy = 100 * granted / labelled
    return {
        **{"iou": iou, "accuracy": accuracy, "mean": np.nanmean(iou), "mean_accuracy": np.nanmean(accuracy)},
        "all_accuracy": 100 * granted.sum() / labelled.sum(),
        "weighted": np.nansum(iou * labelled) / labelled.sum(),
    }
