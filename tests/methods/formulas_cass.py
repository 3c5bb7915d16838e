"""CASS a second time: float64, whole matrices and their singular values, heads and pairs in loops.

Nothing of sclip_seg is used here. Keys are (heads, P, d). Pairs are found by trying every order; where several are
equally good, as all are of spectra that cross once, they are given, and held against the best.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from formulas import LastBlockWeights, gaussian, layer_norm, output, project, softmax
from formulas_guided import bilinear
from numpy import ndarray as Array


@dataclass(frozen=True)
class Settings:
    pairing: str = "released"
    rank: int = 10
    strength: float = 10.0
    stretch: bool = True
    sigma: float = 5.0


def spectrum(graph: Array) -> Array:
    """Of a symmetric (P, P): the twenty largest eigenvalues over the sum of their absolute values."""
    largest = np.sort(np.linalg.eigvalsh(graph))[::-1][:20]
    return largest / np.abs(largest).sum()


def distances(guide: list[Array], clip: list[Array]) -> Array:
    return np.array([[np.abs(spectrum(d) - spectrum(c)).sum() for c in clip] for d in guide])


def best_pairs(distance: Array) -> tuple[list[int], float]:
    """π, row by row, with the largest sum, and by how much it is the best."""
    rows = range(len(distance))
    sums = sorted(((sum(distance[r, p[r]] for r in rows), p) for p in permutations(rows)), reverse=True)
    return list(sums[0][1]), sums[0][0] - sums[1][0] if len(sums) > 1 else np.inf


def low_rank(graph: Array, rank: int, stretch: bool) -> Array:
    left, values, right = np.linalg.svd(graph)
    rank = min(rank, len(graph))
    kept = values[:rank]
    if stretch and kept[0] > kept[-1]:
        share = (kept - kept[-1]) / (kept[0] - kept[-1])
        kept = share * (1.5 * kept[0] - 0.5 * kept[-1]) + 0.5 * kept[-1]
    total = np.zeros_like(graph)
    for index, value in enumerate(kept):
        total += value * np.outer(left[:, index], right[index])
    return total


def onto(x: Array, like: Array) -> Array:
    return (x - x.min()) / (x.max() - x.min()) * (like.max() - like.min()) + like.min()


def graphs(keys: Array) -> list[Array]:
    return [k @ k.T / np.sqrt(k.shape[1]) for k in keys]


def scores(keys: Array, guide: Array, s: Settings = Settings(), pairs: list[int] | None = None) -> Array:
    """S (heads, P, P) of keys (heads, P, d) and of the guide's on the same grid."""
    clip, dino = graphs(keys), graphs(onto(guide, keys))
    heads = range(len(clip))
    partner, weight = list(heads), [1.0 for _ in heads]
    if s.pairing != "identity":
        distance = distances(dino, clip)
        best, margin = best_pairs(distance)
        assert pairs is not None or margin > 1e-5
        pairs = best if pairs is None else pairs
        assert sum(distance[r, pairs[r]] for r in heads) > sum(distance[r, best[r]] for r in heads) - 1e-5
        for row in heads:
            own, other = (row, pairs[row]) if s.pairing == "released" else (pairs[row], row)
            partner[own], weight[own] = other, s.strength * distance[row, pairs[row]]
    found = []
    for head in heads:
        low = low_rank(dino[partner[head]], s.rank, s.stretch)
        np.fill_diagonal(low, 0)
        found.append((weight[head] * onto(low, clip[head]) + clip[head]) / (weight[head] + 1))
    return np.stack(found)


def on_grid(guide: Array, grid: tuple[int, int], heads: int) -> Array:
    """The guide's keys (C, h, w) -> (heads, P, C / heads)."""
    moved = bilinear(guide, grid).reshape(heads, -1, grid[0] * grid[1])
    return moved.transpose(0, 2, 1)


def attention(x: Array, w: LastBlockWeights, grid: tuple[int, int], guide: Array, s: Settings = Settings(), pairs=None):
    """A (heads, P, P) of the last block's input (T, C), and the projections behind it."""
    p = project(x[1:], w, grid)
    found = scores(p.k, on_grid(guide, grid, w.heads), s, pairs)
    near = gaussian(grid, s.sigma)[1:, 1:]
    return np.stack([np.stack([softmax(row) for row in head + near]) for head in found]), p


def cass(
    x: Array, w: LastBlockWeights, grid: tuple[int, int], guide: Array, s: Settings = Settings(), pairs=None
) -> Array:
    """Features (D, h, w) of one window."""
    weights, p = attention(x, w, grid, guide, s, pairs)
    mixed = output(np.stack([a @ v for a, v in zip(weights, p.v, strict=True)]), w)
    tokens = layer_norm(mixed, w.post["weight"], w.post["bias"]) @ w.proj
    return tokens.T.reshape(-1, *grid)


def unit(row: Array) -> Array:
    return row / np.sqrt(row @ row)


def adjusted(features: Array, queries: Array, members: list[list[int]], present: Array, alpha: float) -> Array:
    """t' (Q, D) of a window: features (P, D), queries (Q, D), clusters as lists of queries, s (Q,)."""
    moved = queries.copy()
    for cluster in members:
        chosen = max(cluster, key=lambda q: present[q])
        nearest = sorted(range(len(features)), key=lambda i: -unit(features[i]) @ queries[chosen])[:2]
        seen = unit(sum(unit(features[i]) for i in nearest) / len(nearest))
        moved[chosen] = unit((1 - alpha) * queries[chosen] + alpha * seen)
    return moved


def text_side(
    features: Array, queries: Array, members: list[list[int]], present: Array, alpha: float, gamma: float
) -> Array:
    """Scores (P, Q) of one window."""
    moved = adjusted(features, queries, members, present, alpha)
    cosines = np.array([[unit(f) @ t for t in moved] for f in features])
    return (1 - gamma) * cosines + gamma * present
