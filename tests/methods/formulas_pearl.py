"""PEARL a second time: float64, token by token and cell by cell, the system as a whole matrix.

Nothing of sclip_seg is used here, and R is not iterated on matrices: the singular values of M go through the scalar
form of the iteration.
"""

import numpy as np
from numpy import ndarray as Array

SMALL = 1e-6


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def aligned(q: Array, k: Array) -> tuple[Array, Array]:
    """Of one head's (T, d), the first token the class token: k̃ (T, d) and M (d, d)."""
    lengths = [0.0] + [np.sqrt(row @ row) for row in q[1:]]
    total = sum(lengths) + SMALL
    centre_q = sum(length / total * row for length, row in zip(lengths, q, strict=True))
    centre_k = sum(length / total * row for length, row in zip(lengths, k, strict=True))
    moment = sum(np.outer(b - centre_k, a - centre_q) for a, b in zip(q, k, strict=True))
    return np.stack([row - centre_k for row in k]), moment


def rotation(moment: Array, steps: int | None) -> Array:
    """R: each singular value σ of M becomes σ z/√n after so many steps, or 1 (None)."""
    left, values, right = np.linalg.svd(moment)
    if steps is None:
        return left @ right
    size = np.sqrt((values**4).sum())  # Frobenius norm of MᵀM
    turned = []
    for value in values:
        y, z = value**2 / size + SMALL, 1.0
        for _ in range(steps):
            t = (3 - z * y) / 2
            y, z = y * t, t * z
        turned.append(value * z / np.sqrt(size))
    return left @ np.diag(turned) @ right


def pearl(p, alpha: float = 0.08, steps: int | None = 5) -> Array:
    """softmax_b((q_a · R ᵀk_b + α k̃_a · k̃_b)/√d) of every head: (heads, T, T)."""
    heads, tokens, width = p.q.shape
    weights = np.empty((heads, tokens, tokens))
    for head in range(heads):
        q, k = p.q[head], p.k[head]
        centred, moment = aligned(q, k)
        turned = [rotation(moment, steps).T @ row for row in k]
        for a in range(tokens):
            logits = [q[a] @ turned[b] + alpha * centred[a] @ centred[b] for b in range(tokens)]
            weights[head, a] = softmax(np.array(logits) / np.sqrt(width))
    return weights


def cells(maps: Array, factors: tuple[int, int]) -> Array:
    """Means of (C, H, W) over cells of (fy, fx) pixels, those that are whole: (C, H // fy, W // fx)."""
    fy, fx = factors
    out = np.empty((len(maps), maps.shape[1] // fy, maps.shape[2] // fx))
    for channel, y, x in np.ndindex(out.shape):
        out[channel, y, x] = maps[channel, y * fy : (y + 1) * fy, x * fx : (x + 1) * fx].mean()
    return out


def factors(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """Halves are rounded to even."""
    return tuple(max(1, int(np.rint(side / grid))) for side in size)


def own_similarity(text: Array) -> Array:
    """s of the texts (Q, D)."""
    unit = [row / np.sqrt(row @ row) for row in text]
    found = []
    for c, row in enumerate(unit):
        similar = softmax(np.array([2 * row @ other for other in unit]))
        similar[c] += 10
        found.append(similar[c] / (similar.sum() + SMALL))
    return np.array(found)


def agreement(left: Array, right: Array, s: Array | None) -> float:
    return 0.0 if s is None else min(max(sum(c * a * b for c, a, b in zip(s, left, right, strict=True)), 0), 1)


def system(start: Array, grey: Array, s: Array | None) -> tuple[Array, Array]:
    """D (h·w,) and Λ_w (h·w, h·w) of cosines (Q, h, w) and a picture (h, w)."""
    height, width = grey.shape
    p = np.empty_like(start)
    for y, x in np.ndindex(height, width):
        p[:, y, x] = softmax(start[:, y, x])
    data = np.empty(height * width)
    for y, x in np.ndindex(height, width):
        own = p[:, y, x]
        data[y * width + x] = max(own.max(), 0.05) ** 2 * (1 + agreement(own, own, s))
    graph = np.zeros((height * width, height * width))
    for dy, dx in ((0, 1), (1, 0)):
        pairs = [((y, x), (y + dy, x + dx)) for y in range(height - dy) for x in range(width - dx)]
        steps = [abs(grey[b] - grey[a]) for a, b in pairs]
        for (a, b), step in zip(pairs, steps, strict=True):
            weight = np.exp(-5 * step / (np.mean(steps) + SMALL))
            weight = min(1, weight * (1 + agreement(p[:, a[0], a[1]], p[:, b[0], b[1]], s)))
            i, j = (place[0] * width + place[1] for place in (a, b))
            for one, other in ((i, j), (j, i)):
                graph[one, one] += weight
                graph[one, other] -= weight
    return data, graph


def solve(data: Array, graph: Array, start: Array, steps: int | None) -> Array:
    """X (Q, h, w) of (D + Λ) X = D L: exactly, or by conjugate gradients from L with sums over all queries."""
    matrix, flat = np.diag(data) + graph, start.reshape(len(start), -1).T
    if steps is None:
        return np.linalg.solve(matrix, data[:, None] * flat).T.reshape(start.shape)
    x = flat.copy()
    r = data[:, None] * flat - matrix @ x
    d, length = r.copy(), (r * r).sum()
    for _ in range(steps):
        along = matrix @ d
        stride = length / ((d * along).sum() + 1e-12)
        x, r = x + stride * d, r - stride * along
        after = (r * r).sum()
        d, length = r + after / (length + 1e-12) * d, after
    return x.T.reshape(start.shape)


def propagated(
    maps: Array, image: Array, text: Array | None, grid: int = 80, steps: int | None = 25
) -> tuple[Array, tuple[int, int]]:
    """X on the cells, and their factors: of cosines (Q, H, W) and the network's input (3, H, W), enlarged to them."""
    by = factors(maps.shape[1:], grid)
    red, green, blue = image
    grey = cells((0.299 * red + 0.587 * green + 0.114 * blue)[None], by)[0]
    start = cells(maps, by)
    data, graph = system(start, grey, None if text is None else own_similarity(text))
    return solve(data, graph, start, steps), by
