"""SC-CLIP a second time: float64, one window at a time, raw weights; nothing of sclip_seg is used.

P patches of a grid (h, w), T = P + 1 tokens; X_l is the output of block l, counted from 1, and X_0 the trunk's start.
"""

from dataclasses import dataclass

import numpy as np
from formulas import LastBlockWeights, correlation, output, project, softmax
from formulas_paths import joint, trained_block, unit
from numpy import ndarray as Array

CONTAMINATION = 0.05  # share of patches that the detectors may call outliers


@dataclass(frozen=True)
class Settings:
    """Blocks counted from 1, as they are in this tower."""

    mid: int
    post: int
    fused: tuple[int, ...]
    class_weight: float = 0.3
    beta: float = 0.4
    sharpness: float = 3.0
    detector: str = "released"
    neighbours: int = 30


def plain_states(start: Array, blocks: list[LastBlockWeights], grid: tuple[int, int]) -> list[Array]:
    """[X_0, ..., X_{L-1}] of one window, (T, C) each: every block but the last, as it was trained."""
    states = [start]
    for w in blocks[:-1]:
        states.append(trained_block(states[-1], w, grid))
    return states


def squared_distances(x: Array) -> Array:
    """(P, P), a patch's distance from itself being infinite: it is none of its neighbours."""
    distances = np.empty((len(x), len(x)))
    for i in range(len(x)):
        distances[i] = ((x - x[i]) ** 2).sum(1)
        distances[i, i] = np.inf
    return distances


def outlier_scores(x: Array, neighbours: int) -> Array:
    """The local outlier factor as released: squared distances, and reach by the point's own k-distance. (P,)."""
    k, distances = min(neighbours, len(x) - 1), squared_distances(x)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    density = np.empty(len(x))
    for i in range(len(x)):
        own = max(distances[i, nearest[i, -1]], 1e-10)
        density[i] = k / np.mean([max(distances[i, j], own) for j in nearest[i]])
    return np.array([np.mean([density[j] / density[i] for j in nearest[i]]) for i in range(len(x))])


def local_outlier_factors(x: Array, neighbours: int) -> Array:
    """Breunig et al.'s factor: reach by the neighbour's k-distance, plain distances. (P,)."""
    k, distances = min(neighbours, len(x) - 1), np.sqrt(squared_distances(x))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    kth = [distances[i, nearest[i, -1]] for i in range(len(x))]
    density = [1 / np.mean([max(distances[i, j], kth[j]) for j in nearest[i]]) for i in range(len(x))]
    return np.array([np.mean([density[j] / density[i] for j in nearest[i]]) for i in range(len(x))])


def outliers(x: Array, detector: str, neighbours: int) -> Array:
    """(P,) bool."""
    if detector == "norm":
        largest = sorted(range(len(x)), key=lambda i: -(x[i] ** 2).sum())[:10]
        return np.array([i in largest for i in range(len(x))])
    scores = outlier_scores(x, neighbours) if detector == "released" else local_outlier_factors(x, neighbours)
    return scores > np.quantile(scores, 1 - CONTAMINATION)


def repair(x: Array, outlier: Array, grid: tuple[int, int]) -> Array:
    """Outliers become the mean of their sound neighbours, of eight; as they are where there are none. (P, C)."""
    height, width = grid
    out = x.copy()
    for row in range(height):
        for column in range(width):
            sound = [
                x[i * width + j]
                for i in range(max(row - 1, 0), min(row + 2, height))
                for j in range(max(column - 1, 0), min(column + 2, width))
                if (i, j) != (row, column) and not outlier[i * width + j]
            ]
            if outlier[row * width + column] and sound:
                out[row * width + column] = sum(sound) / len(sound)
    return out


def aggregate(similarity: Array, beta: float) -> Array:
    """N_β: entries of at least β, divided by their row's sum + 1e-6. (P, P)."""
    out = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        kept = [entry if entry >= beta else 0.0 for entry in row]
        out[i] = np.array(kept) / (sum(kept) + 1e-6)
    return out


def cosines(x: Array) -> Array:
    return unit(x) @ unit(x).T


def last_block(x: Array, similarity: Array, w: LastBlockWeights, grid: tuple[int, int], sharpness: float) -> Array:
    """W_o A V + b_o of the patches X (P, C) alone; neither residual nor FFN. (P, C)."""
    p = project(x, w, grid)
    weights = correlation(p.k, p.k)
    mean = similarity.sum() / similarity.size
    for i, row in enumerate(similarity):
        sharp = np.array([sharpness * (entry - mean) if entry >= mean else -np.inf for entry in row])
        weights[:, i] = (weights[:, i] + softmax(sharp)) / 2
    return output(weights @ p.v, w)


def scclip(starts: Array, blocks: list[LastBlockWeights], grid: tuple[int, int], s: Settings) -> Array:
    """Trunk starts X_0 (N, T, C) -> features (N, D, h, w), before they are made unit vectors."""
    w = blocks[-1]
    features = []
    for start in starts:
        states = plain_states(start, blocks, grid)
        outlier = outliers(states[-1][1:], s.detector, s.neighbours)
        similarity = cosines(repair(states[s.mid][1:], outlier, grid))
        after = aggregate(cosines(states[s.post][1:]), s.beta)

        deep = aggregate(similarity, s.beta) @ repair(states[-1][1:], outlier, grid)
        summed = sum(states[number] for number in s.fused)
        total = 0
        for patches, class_token in ((deep, states[-1][0]), (summed[1:], summed[0])):
            mixed = last_block(patches, similarity, w, grid, s.sharpness)
            total = total + after @ (mixed + s.class_weight * class_token)
        features.append(joint(total, w).T.reshape(-1, *grid))
    return np.stack(features)
