"""CLIPtrase a second time: float64, one window at a time, raw weights; nothing of sclip_seg is used.

P patches of a grid (h, w), T = P + 1 tokens, windows of (H, W) pixels, Q queries of K classes.
"""

from collections import Counter

import numpy as np
from formulas import LastBlockWeights, Projected, correlation, feed_forward, layer_norm, output, project
from formulas_paths import joint, unit
from formulas_scclip import plain_states
from numpy import ndarray as Array

Size = tuple[int, int]


def self_correlation(p: Projected) -> Array:
    """W (T, T): mean over heads of a third of the cosines of q, of k and of v."""
    heads, tokens, _ = p.q.shape
    total = np.zeros((tokens, tokens))
    for part in (p.q, p.k, p.v):
        for head in range(heads):
            for a in range(tokens):
                for b in range(tokens):
                    left, right = part[head, a], part[head, b]
                    total[a, b] += left @ right / np.sqrt((left @ left) * (right @ right))
    return total / (3 * heads)


def denoise(correlations: Array) -> Array:
    """E_ij = max(0, W_ij - W_CLS,j) for patches i, j. (P, P)."""
    patches = len(correlations) - 1
    out = np.zeros((patches, patches))
    for i in range(patches):
        for j in range(patches):
            out[i, j] = max(0.0, correlations[1 + i, 1 + j] - correlations[0, 1 + j])
    return out


def dbscan(points: Array, eps: float, min_samples: int) -> Array:
    """Ester et al.: clusters (P,) numbered by their first core point, -1 for noise; a point is its own neighbour."""
    near = [np.flatnonzero(np.sqrt(((points - point) ** 2).sum(1)) <= eps) for point in points]
    labels, cluster = np.full(len(points), -1), -1
    for first in range(len(points)):
        if labels[first] != -1 or len(near[first]) < min_samples:
            continue
        cluster += 1
        labels[first], waiting = cluster, [first]
        while waiting:
            point = waiting.pop()
            if len(near[point]) < min_samples:
                continue
            fresh = [j for j in near[point] if labels[j] == -1]
            labels[fresh] = cluster
            waiting += fresh
    return labels


def stretch(source: int, target: int) -> Array:
    """(target, source) weights of linear resampling between pixel centres, edges held."""
    weights = np.zeros((target, source))
    for i in range(target):
        centre = max((i + 0.5) * source / target - 0.5, 0.0)
        low = min(int(centre), source - 1)
        share = centre - low
        weights[i, low] += 1 - share
        weights[i, min(low + 1, source - 1)] += share
    return weights


def bilinear(maps: Array, size: Size) -> Array:
    """(n, h, w) -> (n, H, W)."""
    rows, columns = stretch(maps.shape[1], size[0]), stretch(maps.shape[2], size[1])
    return np.stack([rows @ plane @ columns.T for plane in maps])


def median(plane: Array) -> Array:
    """Of 7 x 7 pixels, the borders mirrored with the edge pixel repeated."""
    padded = np.pad(plane, 3, mode="symmetric")
    out = np.empty_like(plane)
    for i in range(plane.shape[0]):
        for j in range(plane.shape[1]):
            out[i, j] = sorted(padded[i : i + 7, j : j + 7].ravel())[24]
    return out


def region_maps(denoised: Array, grid: Size, size: Size, eps: float, min_samples: int) -> Array | None:
    """Every cluster's strength at every pixel, (clusters, H, W); a pixel's region is the strongest. None if none."""
    labels = dbscan(denoised, eps, min_samples)
    if labels.max() < 0:
        return None
    means = np.stack([denoised[labels == cluster].mean(0) for cluster in range(labels.max() + 1)])
    fine = bilinear(means.reshape(-1, *grid), (4 * grid[0], 4 * grid[1]))
    return bilinear(np.stack([median(plane) for plane in fine]), size)


def votes(labels: Array, regions: Array | None, classes: int) -> Array:
    """(K, H, W): the share of each label in the pixel's region; a pixel is its own region where there is none."""
    regions = np.arange(labels.size).reshape(labels.shape) if regions is None else regions
    shares = np.zeros((classes, *labels.shape))
    for region in np.unique(regions):
        inside = regions == region
        for label, count in Counter(labels[inside].tolist()).items():
            shares[label, inside] = count / inside.sum()
    return shares


def most_frequent(labels: Array, regions: Array) -> Array:
    """Every pixel's label after the vote: its region's most frequent one, of equals the lowest. (H, W)."""
    out = labels.copy()
    for region in np.unique(regions):
        counts = Counter(sorted(labels[regions == region].tolist()))
        out[regions == region] = counts.most_common(1)[0][0]
    return out


def last_block(x: Array, w: LastBlockWeights, grid: Size, reduce: str) -> Array:
    """The block's output for its input X (T, C) with the sum, or the mean, of three correlations; FFN included."""
    p = project(x, w, grid)
    weights = correlation(p.q, p.q) + correlation(p.k, p.k) + correlation(p.v, p.v)
    x = x + output((weights / 3 if reduce == "mean" else weights) @ p.v, w)
    return x + feed_forward(layer_norm(x, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)


def cliptrase(
    start: Array,
    blocks: list[LastBlockWeights],
    grid: Size,
    queries: Array,
    image_prior: bool = False,
    reduce: str = "sum",
) -> tuple[Array, Array, Array]:
    """One window's X_0 (T, C) and unit queries (Q, D) -> features (D, h, w), scores (Q, h, w) and E (P, P)."""
    states = plain_states(start, blocks, grid)
    tokens = joint(last_block(states[-1], blocks[-1], grid, reduce), blocks[-1])
    scores = queries @ unit(tokens).T
    scores = scores[:, 1:] * scores[:, :1] if image_prior else scores[:, 1:]
    denoised = denoise(self_correlation(project(states[-2], blocks[-2], grid)))
    return tokens[1:].T.reshape(-1, *grid), scores.reshape(-1, *grid), denoised
