"""Large pictures cut into tiles, with or without overlap, and their label maps in the same places."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Tiles:
    """Of `size` (height, width), one begins every `stride` (height, width) pixels.

    Where the last one would reach beyond the picture it begins earlier ('shift'), or is filled up ('pad'). One that is
    larger than the picture is filled up either way.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    edge: Literal["shift", "pad"] = "shift"

    def places(self, height: int, width: int) -> Iterator[dict[str, int]]:
        """Row by row: `top`, `bottom`, `left` and `right` in pixels, and the `index` of the tile."""
        corners = [(top, left) for top in self._starts(height, 0) for left in self._starts(width, 1)]
        for index, (top, left) in enumerate(corners):
            yield dict(top=top, bottom=top + self.size[0], left=left, right=left + self.size[1], index=index)

    def cut(self, pixels: np.ndarray, place: dict[str, int], filling: int) -> np.ndarray:
        """(h, w[, 3]) of (H, W[, 3]) at a place, with this value where the picture has ended."""
        piece = pixels[place["top"] : place["bottom"], place["left"] : place["right"]]
        if piece.shape[:2] == self.size:
            return piece
        whole = np.full((*self.size, *pixels.shape[2:]), filling, pixels.dtype)
        whole[: piece.shape[0], : piece.shape[1]] = piece
        return whole

    def _starts(self, length: int, axis: int) -> list[int]:
        starts = range(0, length, self.stride[axis])
        return sorted(
            {min(start, max(0, length - self.size[axis])) for start in starts} if self.edge == "shift" else starts
        )
