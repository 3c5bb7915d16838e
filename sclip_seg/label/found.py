"""What the formats are made of: a picture's label map with its regions, and the classes that it is in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..drawing import IGNORED
from .clean import Region, cleaned, regions


@dataclass(frozen=True)
class Classes:
    """Names, colours RGB, and the index of the background, or None."""

    names: tuple[str, ...]
    palette: list[list[int]]
    background: int | None

    @property
    def ignore(self) -> int:
        """The value of pixels without a class: 255, and from 256 classes on 65535."""
        return 255 if len(self.names) < 256 else 65535

    @property
    def things(self) -> list[int]:
        """The classes that regions have: all but the background."""
        return [index for index in range(len(self.names)) if index != self.background]

    @property
    def colours(self) -> list[int]:
        """A palette of 256 colours, of up to 255 classes."""
        table = [*self.palette, *[[0, 0, 0]] * 256][:256]
        table[255] = list(IGNORED)
        return [value for colour in table for value in colour]


@dataclass(frozen=True)
class Found:
    """Of a picture `name`: `labels` (H, W), uint8 or uint16, the probability of each pixel's class, where it lies.

    `scores`: (K, H, W) of all classes, where they are asked for.
    """

    name: str
    file: str
    labels: np.ndarray
    own: np.ndarray
    classes: Classes
    scores: np.ndarray | None = None

    def regions(self) -> Iterator[tuple[Region, float]]:
        """Each region but the background's, and its score: the mean probability of what its pixels were given."""
        for region in regions(self.labels, (self.classes.background, self.classes.ignore)):
            yield region, round(float(self.own[region.window][region.mask].mean()), 4)


def label_map(
    labels: np.ndarray, best: np.ndarray | None, classes: Classes, unsure: float, min_region: int
) -> np.ndarray:
    """Labels (H, W), cleaned of regions below `min_region` pixels; ignored where the best class is below `unsure`."""
    values = labels.astype(np.uint8 if classes.ignore == 255 else np.uint16)
    if min_region > 1:
        values = cleaned(values, min_region, classes.ignore)
    if unsure:
        values = np.where(best < unsure, values.dtype.type(classes.ignore), values)
    return values
