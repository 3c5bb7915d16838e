"""Label maps without specks, and their regions: parts of one class that hang together, by eight neighbours.

A region is no instance: two dogs side by side are one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

EIGHT = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Region:
    """Its class, where its box begins (top, left), and its mask (h, w) bool within the box."""

    label: int
    top: int
    left: int
    mask: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of its box."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def whole(self, shape: tuple[int, int]) -> np.ndarray:
        """Its mask (H, W), uint8, in a picture of that shape."""
        mask = np.zeros(shape, np.uint8)
        mask[self.window] = self.mask
        return mask


def regions(labels: np.ndarray, without: tuple[int | None, ...] = ()) -> Iterator[Region]:
    """All regions of a label map (H, W), class by class and from top to bottom, the values `without` left out."""
    for label in np.unique(labels):
        if label in without:
            continue
        count, parts, boxes, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        for part in range(1, count):
            left, top, width, height, _ = boxes[part].tolist()
            box = parts[top : top + height, left : left + width]
            yield Region(int(label), top, left, box == part)


def cleaned(labels: np.ndarray, least: int, ignore: int) -> np.ndarray:
    """Regions of fewer pixels than `least` go to the class that has most of their surroundings, the smallest first.

    So holes are filled as well, which are regions inside of others. Ignored pixels stay ignored.
    """
    small = [(int(r.mask.sum()), number, r) for number, r in enumerate(regions(labels, (ignore,)))]
    small = [entry for entry in small if entry[0] < least]
    if not small:
        return labels
    result = labels.copy()
    for _, _, region in sorted(small, key=lambda entry: entry[:2]):
        rows, columns = region.window
        top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
        around = result[top : rows.stop + 1, left : columns.stop + 1]
        inside = np.zeros(around.shape, np.uint8)
        height, width = region.mask.shape
        inside[rows.start - top :, columns.start - left :][:height, :width] = region.mask
        ring = around[(cv2.dilate(inside, EIGHT) - inside).astype(bool)]
        ring = ring[ring != region.label]
        if len(ring):
            values, counts = np.unique(ring, return_counts=True)
            around[inside.astype(bool)] = values[counts.argmax()]
    return result
