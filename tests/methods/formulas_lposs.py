"""LPOSS and LPOSS+ a second time: float64, graphs as whole matrices made entry by entry, each column solved by itself.

Nothing of sclip_seg is used here. Nodes are the patches of all windows, window by window and row by row, or the pixels
of a picture, row by row.
"""

import numpy as np
from numpy import ndarray as Array

TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = (0.95047, 1.0, 1.08883)


def centres(corners: list[tuple[int, int]], grid: tuple[int, int], unit: int) -> Array:
    """(N, 2: y, x) in pixels of the picture: of patches of `unit` pixels in windows that begin at `corners`."""
    return np.array(
        [
            (top + unit // 2 + unit * row, left + unit // 2 + unit * column)
            for top, left in corners
            for row in range(grid[0])
            for column in range(grid[1])
        ]
    )


def patch_weights(features: Array, places: Array, k: int, gamma: float, sigma: float) -> tuple[Array, float]:
    """W (N, N) of features (N, C), and the least difference between a k-th similarity and the next."""
    unit = np.stack([row / np.sqrt(row @ row) for row in features])
    count, one_sided, gap = len(unit), np.zeros((len(unit), len(unit))), np.inf
    for i in range(count):
        similar = np.array([unit[i] @ other for other in unit])
        order = sorted(range(count), key=lambda j: -similar[j])
        if k < count:
            gap = min(gap, similar[order[k - 1]] - similar[order[k]])
        for j in order[:k]:
            far = np.sqrt(((places[i] - places[j]) ** 2).sum())
            one_sided[i, j] = max(similar[j], 0) ** gamma * np.exp(-sigma * far)
    weights = one_sided + one_sided.T
    for i in range(count):
        weights[i, i] = 0
    return weights, gap


def curve(c: float) -> float:
    return ((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92


def root(t: float) -> float:
    return t ** (1 / 3) if t > 0.008856 else 7.787 * t + 4 / 29


def lab(rgb: Array) -> Array:
    """RGB (3, H, W) in [0, 1] -> (3, H, W), L by 100, a and b by 128."""
    out = np.empty_like(rgb)
    for y in range(rgb.shape[1]):
        for x in range(rgb.shape[2]):
            linear = np.array([curve(c) for c in rgb[:, y, x]])
            fx, fy, fz = (root(row @ linear / white) for row, white in zip(TO_XYZ, WHITE, strict=True))
            out[:, y, x] = (116 * fy - 16) / 100, 500 * (fx - fy) / 128, 200 * (fy - fz) / 128
    return out


def pixel_weights(colours: Array, reach: int, tau: float) -> Array:
    """W (H·W, H·W) of colours (3, H, W)."""
    height, width = colours.shape[1:]
    weights = np.zeros((height * width, height * width))
    for y in range(height):
        for x in range(width):
            for v in range(max(y - reach, 0), min(y + reach, height - 1) + 1):
                for u in range(max(x - reach, 0), min(x + reach, width - 1) + 1):
                    far = np.sqrt(((colours[:, y, x] - colours[:, v, u]) ** 2).sum())
                    weights[y * width + x, v * width + u] = np.exp(-far / tau) if (v, u) != (y, x) else 0
    return weights


def normalised(weights: Array) -> Array:
    """D^-½ W D^-½; a degree of 0 counts as 1."""
    degree = weights.sum(1)
    degree[degree == 0] = 1
    return weights / np.sqrt(degree)[:, None] / np.sqrt(degree)[None]


def conjugate_gradients(matrix: Array, right: Array, steps: int = 10, tolerance: float = 1e-6) -> tuple[Array, int]:
    """x of A x = b (N,), from 0, without a preconditioner, and the steps taken: until |r| is at most 1e-6 |b|."""
    x, r, p = np.zeros_like(right), right.copy(), right.copy()
    if np.sqrt(right @ right) == 0:
        return x, 0
    for step in range(1, steps + 1):
        along = matrix @ p
        stride = (r @ r) / (p @ along)
        x, after = x + stride * p, r - stride * along
        if np.sqrt(after @ after) <= tolerance * np.sqrt(right @ right):
            return x, step
        p = after + (after @ after) / (r @ r) * p
        r = after
    return x, steps


def spread(weights: Array, columns: Array, alpha: float = 0.95, steps: int = 10) -> Array:
    """Z (N, Q) of Y (N, Q), column by column."""
    matrix = np.eye(len(weights)) - alpha * normalised(weights)
    return np.stack([conjugate_gradients(matrix, column, steps)[0] for column in columns.T], axis=1)


def nodes(tiles: Array) -> Array:
    """(B, C, h, w) -> (B·h·w, C)"""
    return np.stack([tile[:, y, x] for tile in tiles for y in range(tile.shape[1]) for x in range(tile.shape[2])])


def tiles_of(columns: Array, like: Array) -> Array:
    """(B·h·w, Q) -> (B, Q, h, w), for tiles that lie `like` others."""
    count, _, height, width = like.shape
    return columns.reshape(count, height, width, -1).transpose(0, 3, 1, 2)


def spread_patches(
    tiles: Array, values: Array, places: Array, k: int = 400, gamma: float = 3.0, sigma: float = 0.01, **solver
) -> tuple[Array, float]:
    """Scores (B, Q, h, w) over the graph of a guide's values (B, C, h, w); and the gap of `patch_weights`."""
    weights, gap = patch_weights(nodes(values), places, k, gamma, sigma)
    return tiles_of(spread(weights, nodes(tiles), **solver), tiles), gap


def spread_pixels(maps: Array, rgb: Array, reach: int = 6, tau: float = 0.01, **solver) -> Array:
    """Score maps (Q, H, W) over the graph of the pixels of a picture (3, H, W) in [0, 1]."""
    columns = spread(pixel_weights(lab(rgb), reach, tau), maps.reshape(len(maps), -1).T, **solver)
    return columns.T.reshape(maps.shape)


def class_maxima(maps: Array, owner: list[int]) -> Array:
    """(Q, H, W) -> (K, H, W)"""
    return np.stack([np.max([m for m, k in zip(maps, owner, strict=True) if k == c], axis=0) for c in sorted({*owner})])
