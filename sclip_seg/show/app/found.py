"""What a method found in a picture, as the page keeps, draws and writes it."""

import base64
from collections.abc import Set
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from ...data.labels import as_picture, default_ignore
from ...drawing import IGNORED, overlay
from ...errors import InputError
from ...files import as_png
from ..predictor import Prediction

SURE = 255  # scores are kept in 255ths
NOBODY: frozenset[int] = frozenset()
POINTED = 640  # pixels of the longer side, by which a pointer is told what is under it
MOST_SCORES = 1 << 26  # numbers in a file; two bytes each


@dataclass(frozen=True)
class Found:
    """Labels (H, W) of K `classes`, in `palette`'s colours; `background` stays unpainted.

    `sure` (H, W) uint8: the probability of each pixel's own class, in 255ths. `memory`: what it was blended with, which
    makes it few-shot.
    """

    method: str
    labels: np.ndarray
    classes: tuple[str, ...]
    palette: list[list[int]]
    background: int | None
    sure: np.ndarray
    memory: str = ""

    @classmethod
    def of(cls, method: str, prediction: Prediction, memory: str = "") -> "Found":
        """Of a prediction, whose score maps are not held on to."""
        labels, sure = prediction.labels.astype(np.uint16), np.rint(SURE * prediction.certainty[0]).astype(np.uint8)
        return cls(method, labels, prediction.classes, prediction.palette, prediction.background, sure, memory)

    @property
    def title(self) -> str:
        """The method, and that it is few-shot where it is."""
        return f"{self.method} (few-shot, {self.memory})" if self.memory else self.method

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"{self.method}.few_shot" if self.memory else self.method

    def over(self, picture: np.ndarray, opacity: float, off: Set[int] = NOBODY, threshold: float = 0.0) -> np.ndarray:
        """The picture (H, W, 3) under the colours of its classes, without those that are `off` or below a score."""
        painted = overlay(picture, self.labels, self.palette, opacity, self.background)
        bare = self.unsure(threshold) | np.isin(self.labels, list(off))
        return np.where(bare[..., None], picture, painted) if bare.any() else painted

    def unsure(self, threshold: float) -> np.ndarray:
        """Where (H, W) the score is below the threshold; the background has none to reach."""
        below = self.sure < threshold * SURE
        return below if self.background is None else below & (self.labels != self.background)

    @property
    def shares(self) -> list[float]:
        """Of all pixels, class by class; two classes of one name stay two."""
        return self.shares_above(0)

    def shares_above(self, threshold: float) -> list[float]:
        """Of all pixels, class by class, those below the threshold left out."""
        kept = self.labels[~self.unsure(threshold)]
        return (np.bincount(kept, minlength=len(self.classes)) / self.labels.size).tolist()

    def at(self, y: int, x: int) -> tuple[str, float]:
        """The word of a pixel and its score."""
        return self.classes[self.labels[y, x]], float(self.sure[y, x]) / SURE

    @property
    def mean_scores(self) -> list[float | None]:
        """Of each class the mean score of its pixels; None for one that has none."""
        pixels = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        sums = np.bincount(self.labels.ravel(), self.sure.ravel(), minlength=len(self.classes))
        return [float(total / count / SURE) if count else None for total, count in zip(sums, pixels, strict=True)]

    def as_data_uri(self) -> str:
        """Class (red + 256 * green) and score (blue) of each pixel as a small PNG for a browser."""
        coded = np.stack([self.labels & 255, self.labels >> 8, self.sure], -1).astype(np.uint8)
        height, width = self.labels.shape
        scale = min(1.0, POINTED / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(cv2.resize(coded, size, interpolation=cv2.INTER_NEAREST))
        return f"data:image/png;base64,{base64.b64encode(as_png(small)).decode()}"

    def label_file(self, threshold: float = 0.0) -> bytes:
        """A PNG of 8 bits, or of 16 from 256 classes on: the number of each pixel's class, ignored below the threshold.

        The colours of one of 8 bits are those of the page.
        """
        ignored = default_ignore(len(self.classes))
        values = np.where(self.unsure(threshold), ignored, self.labels)
        picture = as_picture(values.astype(np.uint8 if ignored < 256 else np.uint16))
        if picture.mode == "L":
            colours = [*self.palette, *[IGNORED] * 256][:256]  # of fewer, pillow writes fewer bits
            picture.putpalette([value for colour in colours for value in colour])
        return as_png(picture)


def score_file(prediction: Prediction, memory: str = "") -> bytes:
    """A npz of `labels` (H, W), `scores` (K, H, W) fp16, `classes`, and the `memory` of few-shot ones.

    Raises InputError where that is too much.
    """
    count = len(prediction.classes) * prediction.labels.size
    if count > MOST_SCORES:
        raise InputError(
            f"{len(prediction.classes)} words at {prediction.labels.size} pixels are too many scores for a file "
            "of this page: take a smaller picture or fewer words, or sclip-seg demo --npz"
        )
    buffer = BytesIO()
    scores = prediction.scores.astype(np.float16)
    labels = prediction.labels.astype(np.uint16)
    told = {"memory": np.array(memory)} if memory else {}
    np.savez_compressed(buffer, labels=labels, scores=scores, classes=np.array(prediction.classes), **told)
    return buffer.getvalue()
