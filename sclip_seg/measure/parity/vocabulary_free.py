"""Metrics for words that nobody gave, of given masks, labels and embeddings of names; and CaSED's candidates.

stage_vocabulary_free   `mask` (P, W, h, w), enlarged bilinearly to the labels, `target` (P, H, W), 0 the background,
                        `word_embedding`, `class_embedding`, `words_that_are_classes` (pairs) -> `metric.NAME`

                        of pictures `cased.image` (P, D), `cased.caption` (P, C) and `cased.candidate`, rows of
                        `cased.bag`, with `cased.candidate_image` -> `cased.alphaA` (P, candidates), 0 where others' are

`metric.nearest` is held against the released columns. How CaSED finds captions in its database, and takes words out of
them, is in no file: both are given.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from ...evaluate.free_words.metrics import Counted, iou, mean_by_class, of_mapping, score
from ...picture.finding.captions import by_captions
from .outcome import Part, gap
from .reading import Check, File, reads
from .reference import Reference

GIVEN = ("mask", "target", "word_embedding", "class_embedding", "words_that_are_classes")
OF_CAPTIONS = ("image", "bag", "caption", "candidate", "candidate_image")
SCALE = 1 / 0.07  # the default of the class there
SHARES, PROBABILITIES = 1e-7, 1e-6  # of sums and of a softmax in fp32 there
BACKGROUND = 0


@reads("stage_vocabulary_free")
def vocabulary_free(reference: Reference, file: File) -> Iterator[Check]:
    """A case of all metrics, and one of candidates."""
    metrics = [key for key in file.keys if key.startswith("metric.")]
    yield Check("stage", "vocabulary-free", [*GIVEN, *metrics], partial(compared, file, metrics))
    scores = [key for key in file.keys if key.startswith("cased.alpha")]
    if scores:
        given = [f"cased.{name}" for name in OF_CAPTIONS]
        yield Check("stage", "CaSED", [*given, *scores], partial(named, file, scores))


def compared(file: File, metrics: list[str]) -> Iterator[Part]:
    """Metric by metric."""
    target, names = file["target"].astype(int), file["class_embedding"]
    masks = F.interpolate(torch.from_numpy(file["mask"]), target.shape[1:], mode="bilinear", align_corners=False)
    words, classes = masks.shape[1], len(names)
    cells = masks.argmax(1).numpy() * classes + target
    counts = [np.bincount(own.ravel(), minlength=words * classes).reshape(words, classes) for own in cells]
    called = {int(word): int(own) for word, own in file["words_that_are_classes"]}
    pictures = [
        Counted(tuple(f"class {called[word]}" if word in called else f"word {word}" for word in range(words)), own)
        for own in counts
    ]
    similarity = file["word_embedding"].astype(float) @ names.astype(float).T
    found = score(pictures, [[f"class {own}"] for own in range(classes)], BACKGROUND, lambda _: similarity).means
    found["nearest"] = released(pictures, similarity)
    for key in metrics:
        yield key.removeprefix("metric."), gap(np.array(found[key.removeprefix("metric.")]), file[key]), SHARES


def named(file: File, scores: list[str]) -> Iterator[Part]:
    """Candidates by captions, a share at a time."""
    image, bag, caption, candidate, owner = (torch.from_numpy(file[f"cased.{name}"]) for name in OF_CAPTIONS)
    for key in scores:
        share, found = float(key.removeprefix("cased.alpha")), torch.zeros(len(image), len(candidate))
        for place, (feature, captions) in enumerate(zip(image, caption, strict=True)):
            own = owner == place
            found[place, own] = by_captions(feature, bag[captions], bag[candidate[own]], share, SCALE)
        yield f"candidates, {share:g}", gap(found, file[key]), PROBABILITIES


def released(pictures: list[Counted], similarity: np.ndarray) -> float:
    """`nearest` as released: the likeness of the classes -1 - c is set to 0, and not that of those that are absent."""
    of_pictures = []
    for seen in pictures:
        likeness = np.maximum(0, similarity)
        likeness[:, -1 - np.flatnonzero(seen.present)] = 0
        of_pictures.append(iou(of_mapping(seen.counts, likeness.argmax(1))))
    return mean_by_class(of_pictures, BACKGROUND)
