"""Outlines along the edges of pixels, so that whoever fills one has the region again."""

import cv2
import numpy as np

from .clean import Region


def polygon(region: Region) -> np.ndarray:
    """One closed polygon (N, 2) of corners (x, y), in its picture, around a region.

    Neither COCO's nor YOLO's polygons have holes: each is cut out by a seam that is walked forth and back, which
    fillers that count crossings leave without width.
    """
    # Of doubled pixels the traced middles 2i and 2i + 1 are the edges i and i + 1, also around holes and corners.
    doubled = np.pad(region.mask.astype(np.uint8).repeat(2, 0).repeat(2, 1), 2)
    found, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_corners((line[:, 0] - 1) // 2) for line in found]
    outer = next(ring for ring, links in zip(rings, tree[0], strict=True) if links[3] < 0)
    holes = [ring for ring, links in zip(rings, tree[0], strict=True) if links[3] >= 0]
    for hole in sorted(holes, key=lambda ring: ring.min(0).tolist()):
        outer = _joined(outer, hole)
    return np.add(outer, (region.left, region.top))


def _corners(points: np.ndarray) -> np.ndarray:
    """A ring without points that are twice there or on a straight line."""
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _joined(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The hole inserted where the two are nearest."""
    start = hole[np.lexsort((hole[:, 1], hole[:, 0]))[0]]
    place = int(np.abs(outer - start).sum(1).argmin())
    first = int((hole == start).all(1).argmax())
    ring = np.concatenate([hole[first:], hole[:first], hole[first : first + 1]])
    return np.concatenate([outer[: place + 1], ring, outer[place:]])
