"""Scores of free words over labelled classes, as vocabulary-free segmentation counts them (altndrr/vicss).

n[w, c]: pixels of a picture that are called word w and labelled class c, G_c = Σ_w n[w, c]; s(w, c) = max(0, cosine) of
their names.

    overlap      w -> the class that it covers most: what the best naming would give, a measure of the partition
    nearest      w -> the class of largest s among those that the picture has
    soft         I_c = Σ_w s n[w,c],  U_c = Σ_w s Σ_c' n[w,c'] + G_c - I_c,  I_c / U_c;  its recall I_c / G_c
    hard         w -> the class of that very name, else the background; pooled over all pictures
    mapped       w -> the class that a file says (LAVE, whose file a language model makes), else the background; pooled

The first three are means over a class's pictures, then over the classes but the background, of pictures where there is
something to count. Official code: github.com/altndrr/vicss, followed but for `nearest`, which clears the columns
-1 - c there, and here those of the classes that are absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NOTHING = -1  # what a word means that is no class, where there is no background
Similarity = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Counted:
    """Of a picture: the words that were found, and n (W, K)."""

    words: tuple[str, ...]
    counts: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Which classes have pixels, (K,)."""
        return self.counts.sum(0) > 0


def of_mapping(counts: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """Intersection, predicted and labelled pixels (3, K) when words mean classes (W,), or NOTHING."""
    classes = counts.shape[1]
    moved = np.zeros((classes, classes))
    meant = mapping != NOTHING
    np.add.at(moved, mapping[meant], counts[meant])
    return np.stack([moved.diagonal(), moved.sum(1), counts.sum(0)])


def iou(counted: np.ndarray) -> np.ndarray:
    """IoU (K,) of three counts (3, K), nan where there is neither prediction nor label."""
    agreement, predicted, labelled = counted
    with np.errstate(invalid="ignore"):
        return agreement / (predicted + labelled - agreement)


def recall(counted: np.ndarray) -> np.ndarray:
    """Recall (K,), nan without labels."""
    with np.errstate(invalid="ignore"):
        return counted[0] / counted[2]


def by_overlap(counts: np.ndarray) -> np.ndarray:
    """The class that each word covers most."""
    return counts.argmax(1)


def by_likeness(similarity: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The class of largest similarity (W, K), no negative one, of those allowed (K,); of equals the first."""
    return np.where(allowed, np.maximum(0, similarity), -1).argmax(1)


def by_name(words: Sequence[str], classes: Sequence[Sequence[str]], otherwise: int) -> np.ndarray:
    """The class of which a word is one of the names, in capitals or not."""
    place = {name.lower(): index for index, names in reversed([*enumerate(classes)]) for name in names}
    return np.array([place.get(word.lower(), otherwise) for word in words])


def softly(counts: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The three counts (3, K) of a similarity (W, K); nan where a class has no label."""
    likeness = np.maximum(0, similarity)
    found = np.stack([(likeness * counts).sum(0), (likeness * counts.sum(1)[:, None]).sum(0), counts.sum(0)])
    return np.where(counts.sum(0) > 0, found, np.nan)


def mean_by_class(pictures: Sequence[np.ndarray], background: int | None) -> float:
    """Of values (K,) by picture: mean over pictures, then over classes; the background has no part in it."""
    values = np.array(pictures)
    if background is not None:
        values = np.delete(values, background, axis=1)
    counted = values[:, ~np.isnan(values).all(0)]
    return float(np.nanmean(counted, axis=0).mean()) if counted.size else float("nan")


@dataclass(frozen=True)
class Scored:
    """The metrics over pictures, shares in [0, 1]; `pooled` are IoUs by class of the mappings that are pooled."""

    means: dict[str, float]
    pooled: dict[str, np.ndarray]


def score(
    pictures: Sequence[Counted],
    classes: Sequence[Sequence[str]],
    background: int | None,
    similarity: Similarity,
    mapping: Mapping[str, int] | None = None,
) -> Scored:
    """All metrics. `classes`: the names of each; `similarity` gives cosines (W, K) of words and classes.

    `mapping`: classes of words by name in lower case, for `mapped`; NOTHING is the background, or no class.
    """
    otherwise = NOTHING if background is None else background
    likeness = [similarity(seen.words) for seen in pictures]
    pairs = list(zip(pictures, likeness, strict=True))
    soft = [softly(seen.counts, own) for seen, own in pairs]
    means = {
        "overlap": [iou(of_mapping(seen.counts, by_overlap(seen.counts))) for seen in pictures],
        "nearest": [iou(of_mapping(seen.counts, by_likeness(own, seen.present))) for seen, own in pairs],
        "soft": [iou(counted) for counted in soft],
        "recall_soft": [recall(counted) for counted in soft],
    }
    found = {name: mean_by_class(values, background) for name, values in means.items()}
    named = {"hard": lambda words: by_name(words, classes, otherwise)}
    if mapping is not None:
        meant = {word: otherwise if own == NOTHING else own for word, own in mapping.items()}
        named["mapped"] = lambda words: np.array([meant.get(word.lower(), otherwise) for word in words])
    pooled = {}
    for name, of in named.items():
        counted = np.sum([of_mapping(seen.counts, of(seen.words)) for seen in pictures], axis=0)
        pooled[name] = iou(counted)
        found[name], found[f"recall_{name}"] = float(np.nanmean(pooled[name])), float(np.nanmean(recall(counted)))
    return Scored(found, pooled)


def present_and_wrong(seen: Counted, classes: Sequence[Sequence[str]], least: float) -> tuple[int, int, int]:
    """Of a picture: classes with at least a share of its pixels, those among them that were found, and wrong words.

    A word is wrong that is the name of no class with pixels.
    """
    meant = by_name(seen.words, classes, NOTHING)
    there = seen.counts.sum(0)
    enough = there > least * there.sum()
    return (
        int(enough.sum()),
        int(np.isin(np.flatnonzero(enough), meant).sum()),
        sum(c == NOTHING or not there[c] for c in meant),
    )
