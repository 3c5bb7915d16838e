"""SFP a second time: float64, one window at a time, raw weights; nothing of sclip_seg is used.

P patches of a grid (h, w), T = P + 1 tokens; X_l is the output of block l, counted from 1, and X_0 the trunk's start.
"""

from dataclasses import dataclass

import numpy as np
from formulas import LastBlockWeights, correlation, output, project, softmax
from formulas_paths import joint
from formulas_scclip import aggregate, outliers, plain_states
from numpy import ndarray as Array


@dataclass(frozen=True)
class Settings:
    """Blocks counted from 1, as they are in this tower."""

    mid: int
    post: int
    fused: tuple[int, ...]
    class_weight: float = 0.3
    beta: float = 0.4
    sharpness: float = 3.0
    detector: str = "attention"
    factor: float = 1.5
    neighbours: int = 30


@dataclass(frozen=True)
class Window:
    """What is found of one window: who is an outlier, M (P, P), and each pass's A (heads, P, P) and features (P, D)."""

    outlier: Array
    similar: Array
    spread: Array
    weights: list[Array]
    features: Array


def class_and_own(x: Array, w: LastBlockWeights, grid: tuple[int, int]) -> tuple[Array, Array]:
    """Of a block with input X (T, C): the heads' mean of softmax(q kᵀ/√d), CLS on patch j, and patch j on itself."""
    p = project(x, w, grid)
    maps = correlation(p.q, p.k)
    by_class, own = np.zeros(len(x) - 1), np.zeros(len(x) - 1)
    for head in maps:
        for j in range(1, len(x)):
            by_class[j - 1] += head[0, j] / len(maps)
            own[j - 1] += head[j, j] / len(maps)
    return by_class, own


def most_looked_at(by_class: Array, own: Array, factor: float) -> Array:
    """Of the patches with factor·by_class > own, the ten with the largest. (P,) bool."""
    candidates = [j for j in range(len(own)) if factor * by_class[j] > own[j]]
    largest = sorted(candidates, key=lambda j: -by_class[j])[:10]
    return np.array([j in largest for j in range(len(own))])


def repair(x: Array, outlier: Array, grid: tuple[int, int]) -> Array:
    """Outliers become the mean of their sound neighbours, of eight, and 0 where there are none. (P, C)."""
    height, width = grid
    out = x.copy()
    for row in range(height):
        for column in range(width):
            if not outlier[row * width + column]:
                continue
            total, count = np.zeros(x.shape[1]), 0
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    i, j = row + down, column + right
                    if 0 <= i < height and 0 <= j < width and not outlier[i * width + j]:
                        total, count = total + x[i * width + j], count + 1
            out[row * width + column] = total / count if count else 0.0
    return out


def cosines(x: Array) -> Array:
    """(P, P); a patch that is 0 is like none, itself included."""
    lengths = np.sqrt((x**2).sum(1))
    out = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(len(x)):
            if lengths[i] and lengths[j]:
                out[i, j] = x[i] @ x[j] / (lengths[i] * lengths[j])
    return out


def thresholded(similar: Array, beta: float) -> Array:
    """Entries below β are 0. (P, P)."""
    return np.array([[entry if entry >= beta else 0.0 for entry in row] for row in similar])


def semantic(similar: Array, sharpness: float) -> Array:
    """softmax(s (M - mean M)) of each row's entries that are not below the mean; of a row of zeros all. (P, P)."""
    mean, out = similar.sum() / similar.size, np.zeros_like(similar)
    for i, row in enumerate(similar):
        kept = [j for j, entry in enumerate(row) if entry >= mean or not row.any()]
        out[i, kept] = softmax(np.array([sharpness * (row[j] - mean) for j in kept]))
    return out


def window(start: Array, blocks: list[LastBlockWeights], grid: tuple[int, int], s: Settings) -> Window:
    """Of the trunk's start X_0 (T, C)."""
    w, states = blocks[-1], plain_states(start, blocks, grid)
    if s.detector == "attention":
        outlier = most_looked_at(*class_and_own(states[-2], blocks[-2], grid), s.factor)
    else:
        outlier = outliers(states[-1][1:], s.detector, s.neighbours)
    similar = thresholded(cosines(repair(states[s.mid][1:], outlier, grid)), s.beta)
    g = semantic(similar, s.sharpness)
    spread = aggregate(cosines(states[s.post][1:]), s.beta)

    calm = project(aggregate(similar, s.beta) @ repair(states[-1][1:], outlier, grid), w, grid)
    summed = sum(states[number] for number in s.fused)
    of_sum = project(summed[1:], w, grid)
    thirds = (correlation(calm.q, calm.q) + correlation(calm.k, calm.k) + g) / 3
    weights, total = [thirds, np.stack([g] * w.heads)], 0
    for maps, p, class_token in zip(weights, (calm, of_sum), (states[-1][0], summed[0]), strict=True):
        mixed = output(np.stack([maps[head] @ p.v[head] for head in range(w.heads)]), w)
        total = total + spread @ (mixed + s.class_weight * class_token)
    return Window(outlier, similar, spread, weights, joint(total, w))


def sfp(starts: Array, blocks: list[LastBlockWeights], grid: tuple[int, int], s: Settings) -> Array:
    """Trunk starts X_0 (N, T, C) -> features (N, D, h, w), before they are made unit vectors."""
    return np.stack([window(start, blocks, grid, s).features.T.reshape(-1, *grid) for start in starts])
