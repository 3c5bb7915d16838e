"""CLIPer without Stable Diffusion a second time: float64, one picture at a time, raw weights, loops over entries.

Nothing of sclip_seg is used here. P patches of a grid (h, w), T = P + 1 tokens, the first the class token; X_l is the
output of block l, counted from 1, and X_0 the trunk's start.
"""

import numpy as np
from formulas import LastBlockWeights, correlation, layer_norm, project, softmax
from formulas_paths import joint, mix, trained_block
from numpy import ndarray as Array


def sinkhorn(maps: Array) -> Array:
    """Each column of (heads, T, T) by its sum, then each row by its own."""
    out = maps.copy()
    for head in out:
        for j in range(len(head)):
            head[:, j] = head[:, j] / head[:, j].sum()
        for i in range(len(head)):
            head[i] = head[i] / head[i].sum()
    return out


def contrasted(maps: Array) -> Array:
    """G of B, (heads, T, T): symmetric, above the mean of its column, rows of sum 1."""
    out = np.zeros_like(maps)
    for head, own in enumerate(maps):
        even = np.array([[(own[i, j] + own[j, i]) / 2 for j in range(len(own))] for i in range(len(own))])
        for i in range(len(own)):
            row = [max(0.0, even[i, j] - even[:, j].mean()) for j in range(len(own))]
            out[head, i] = np.array(row) / sum(row)
    return out


def readings(start: Array, blocks: list[LastBlockWeights], grid: tuple[int, int]) -> tuple[list[Array], list[Array]]:
    """f^1 .. f^L (P, D) and G^1 .. G^L (heads, T, T) of the trunk's start (T, C)."""
    states, total = [start], 0
    for w in blocks[:-1]:
        p = project(states[-1], w, grid)
        total = total + correlation(p.q, p.k)
        states.append(trained_block(states[-1], w, grid))
    features, affinities, last = [], [], blocks[-1]
    for k, (x, w) in enumerate(zip(states, blocks, strict=True), 1):
        tokens = x if k == len(blocks) else layer_norm(x, w.block["ln_1.weight"], w.block["ln_1.bias"])
        total = sinkhorn(total)
        affinities.append(contrasted(total))
        features.append(joint(mix(affinities[-1], project(tokens, last, grid), last), last)[1:])
    return features, affinities


def attended(start: Array, blocks: list[LastBlockWeights], grid, attention) -> tuple[list[Array], list[Array]]:
    """The same with another attention, by each input's own projections."""
    states, last = [start], blocks[-1]
    for w in blocks[:-1]:
        states.append(trained_block(states[-1], w, grid))
    features, weights = [], []
    for k, (x, w) in enumerate(zip(states, blocks, strict=True), 1):
        tokens = x if k == len(blocks) else layer_norm(x, w.block["ln_1.weight"], w.block["ln_1.bias"])
        p = project(tokens, last, grid)
        weights.append(attention(p))
        features.append(joint(mix(weights[-1], p, last), last)[1:])
    return features, weights


def rows_of(queries: Array, things: list[int], beside: Array | None = None) -> Array:
    """All rows of the softmax, the queries first, the mean of the things last."""
    mean = sum(queries[q] for q in things) / len(things)
    return np.concatenate([queries, *([] if beside is None else [beside]), mean[None]])


def logits(features: list[Array], rows: Array, scale: float) -> Array:
    """(L, R, P)"""
    out = np.empty((len(features), len(rows), len(features[0])))
    for k, reading in enumerate(features):
        for r, row in enumerate(rows):
            for n, f in enumerate(reading):
                length = np.sqrt(f @ f) * (np.sqrt(row @ row) if r == len(rows) - 1 else 1)
                out[k, r, n] = scale * (f @ row) / length
    return out


def probabilities(z: Array) -> Array:
    """softmax over the rows of (L, R, P)."""
    out = np.empty_like(z)
    for k in range(z.shape[0]):
        for n in range(z.shape[2]):
            out[k, :, n] = softmax(z[k, :, n])
    return out


def scores(p: Array, affinity: Array, threshold: float, selected: int = -1, fuse: bool = True) -> Array:
    """(L, Q, P) and Ḡ (P, P) -> (Q, P)."""
    p = p.copy()
    out = np.zeros(p.shape[1:])
    for q in range(p.shape[1]):
        own = p[selected, q]
        largest = own.max()
        for i in range(len(own)):
            if own[i] < threshold * largest:
                own[i] = 0
        for j in range(len(own)):
            out[q, j] = sum(own[i] * affinity[i, j] for i in range(len(own)))
            if fuse:
                out[q, j] += sum(p[k, q, j] for k in range(len(p))) / len(p)
    return out


def head_mean(maps: Array) -> Array:
    """Ḡ of G (heads, T, T), of patches."""
    return sum(maps)[1:, 1:] / len(maps)


def over_windows(tiles: list[Array], affinities: list[Array], boxes, grid: tuple[int, int]) -> Array:
    """z' (L, R, P) over a picture of `grid` cells, from the logits (L, R, p) and Ḡ (p, p) of windows.

    `boxes`: their (top, left, bottom, right) in cells.
    """
    height, width = grid
    patches = height * width
    total, cover = np.zeros((*tiles[0].shape[:2], patches)), np.zeros(patches)
    mixing, seen = np.zeros((patches, patches)), np.zeros((patches, patches))
    for z, own, (top, left, bottom, right) in zip(tiles, affinities, boxes, strict=True):
        cells = [y * width + x for y in range(top, bottom) for x in range(left, right)]
        for a, i in enumerate(cells):
            total[:, :, i] += z[:, :, a]
            cover[i] += 1
            for b, j in enumerate(cells):
                mixing[i, j] += own[a, b]
                seen[i, j] += 1
    mixing = mixing / (seen + 1e-5)
    for i in range(patches):
        mixing[i] = mixing[i] / mixing[i].sum()
    return (total / cover) @ mixing


def class_maps(
    maps: Array, best: Array, things: list[int], score_threshold: float, threshold: float, normalise: bool
) -> Array:
    """Values (Q, H, W) of enlarged maps; what is no thing, what is absent and what is below is 0."""
    out = np.zeros_like(maps)
    for q in things:
        own = maps[q] / (maps[q].max() + 1e-5) * best[q]
        if normalise:
            own = own - own.min()
            own = own / (own.max() + 1e-6)
        if best[q] > score_threshold:
            out[q] = np.where(own < threshold, 0, own)
    return out
