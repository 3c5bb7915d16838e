"""What hangs together in a map of labels, by eight neighbours."""

import cv2
import numpy as np

Box = tuple[int, int, int, int]


def parts(labels: np.ndarray, least: int = 1, without: tuple[int, ...] = ()) -> list[tuple[int, np.ndarray, Box]]:
    """Label, mask (H, W) and box (top, left, bottom, right) of each part of at least so many pixels, label by label."""
    found = []
    for label in np.unique(labels):
        if label in without:
            continue
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            left, top, width, height, pixels = boxes[number].tolist()
            if pixels >= least:
                found.append((int(label), numbers == number, (top, left, top + height, left + width)))
    return found
