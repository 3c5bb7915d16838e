"""RADSeg a second time: float64, cell by cell; nothing of sclip_seg is used here."""

import numpy as np
from numpy import ndarray as Array


def kept_softmax(row: Array) -> Array:
    """Over the entries that are not negative; the others weigh nothing."""
    powers = np.where(row < 0, 0, np.exp(row - row.max()))
    return powers / powers.sum()


def unit(rows: Array) -> Array:
    return np.stack([row / np.sqrt(row @ row) for row in rows])


def scra(p, sharpness: float = 10.0) -> Array:
    """R (heads, T, T), from an attention's projections and the weights of W_o: y = W_o A v + b_o, head by head."""
    mixed = []
    for q, k, v in zip(p.q, p.k, p.v, strict=True):
        logits = [[a @ b / np.sqrt(len(a)) for b in k] for a in q]
        powers = [np.exp(np.array(row) - max(row)) for row in logits]
        mixed.append(np.stack([sum(w * value for w, value in zip(row / row.sum(), v, strict=True)) for row in powers]))
    joined = np.concatenate(mixed, axis=1)
    out = joined @ p.w.block["attn.out_proj.weight"].T + p.w.block["attn.out_proj.bias"]
    width = p.q.shape[2]
    heads = [unit(out[:, head * width : (head + 1) * width]) for head in range(len(p.q))]
    return np.stack([np.stack([kept_softmax(sharpness * (u @ row)) for row in u]) for u in heads])


def rounded(size: tuple[int, int], stride: int, crop: int) -> tuple[int, int]:
    """The size that windows are cut from."""
    if size[0] % stride == 0 and size[1] % stride == 0:
        return size
    long = max(size)
    up = int(np.ceil(long / stride)) * stride
    return tuple(max(int(np.ceil(int(side * up / long) / stride)) * stride, crop) for side in size)


def joined(tiles: Array, boxes: list[tuple[int, int, int, int]], size: tuple[int, int], patch: int) -> Array:
    """Features (N, C, h, w) of windows at `boxes` in pixels, averaged where they overlap: (C, rows, columns)."""
    total = np.zeros((tiles.shape[1], size[0] // patch, size[1] // patch))
    count = np.zeros(total.shape[1:])
    for tile, (top, left, bottom, right) in zip(tiles, boxes, strict=True):
        for i in range((bottom - top) // patch):
            for j in range((right - left) // patch):
                total[:, top // patch + i, left // patch + j] += tile[:, i, j]
                count[top // patch + i, left // patch + j] += 1
    return total / count


def aggregation(cells: Array, sharpness: float) -> Array:
    """G (n, n) of features (n, C); the mean is over all pairs, a cell with itself among them."""
    u = unit(cells)
    cosine = np.array([[a @ b for b in u] for a in u])
    return np.stack([kept_softmax(sharpness * (row - cosine.mean())) for row in cosine])


def probabilities(cosine: Array, scale: float) -> Array:
    """(Q, h, w) -> the same."""
    powers = np.exp(scale * (cosine - cosine.max(0)))
    return powers / powers.sum(0)


def merged(p: Array, owner: list[int]) -> Array:
    """The largest of each class's queries, (Q, H, W) -> (K, H, W)."""
    return np.stack([np.max([one for one, own in zip(p, owner, strict=True) if own == c], 0) for c in sorted({*owner})])


def pruned(p: Array, owner: list[int], threshold: float) -> Array:
    """Of enlarged probabilities (Q, H, W): 0 all over where a query's class nowhere reaches the threshold."""
    best = merged(p, owner).max((1, 2))
    return np.stack([one if best[own] >= threshold else 0 * one for one, own in zip(p, owner, strict=True)])
