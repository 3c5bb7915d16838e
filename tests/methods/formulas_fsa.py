"""FSA a second time: float64, patch by patch and entry by entry, from raw weights.

Nothing of sclip_seg is used here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import formulas_guided as guided
import numpy as np
from formulas import LastBlockWeights, Projected, last_block, project, softmax
from numpy import ndarray as Array


@dataclass(frozen=True)
class Outcome:
    """A (heads or 1, T, T) of the second pass, its features (D, h, w), and the least distance of the cut to 0.45.

    `kept`: how many entries of each row of W; S and p (P, Q) are what it is made of.
    """

    attention: Array
    features: Array
    margin: float
    kept: list[int]
    similarity: Array
    p: Array


def divergence(p: Array, q: Array) -> float:
    return sum(a * (np.log(a + 1e-10) - np.log(b + 1e-10)) for a, b in zip(p, q, strict=True))


def fed_back(p: Array, sharpness: float) -> tuple[Array, float, list[int], Array]:
    """W and S (P, P) of p (P, Q), the cut's margin and how many entries each row keeps."""
    count = len(p)
    similarity = np.array([[1 / (1 + max(0.0, divergence(a, b))) for b in p] for a in p])
    weights, margin, kept = np.zeros((count, count)), np.inf, []
    for i, row in enumerate(similarity):
        order = sorted(range(count), key=lambda j: -row[j])
        shares, total, stay = softmax(row), 0.0, []
        for place, j in enumerate(order):
            total += shares[j]
            margin = min(margin, abs(total - 0.45))
            if total <= 0.45 or place == 0:
                stay.append(j)
        last = min(row[j] for j in stay)
        margin = min([margin, *(last - row[j] for j in order if j not in stay)])
        weights[i, stay] = softmax(np.array([row[j] * np.exp(sharpness * row[j]) for j in stay]))
        kept.append(len(stay))
    return weights, margin, kept, similarity


def fsa(first: Array, close: Callable[[Array], Array], text: Array, sharpness: float, prefix: int) -> Outcome:
    """Of P (heads or 1, T, T); `close` makes the features (D, h, w) of patches under an attention of that shape."""
    tokens = first.shape[1]
    even = np.zeros((1, tokens, tokens))
    even[:, :, prefix:] = 1 / (tokens - prefix)
    a, u = (
        scale * cosines(close(weights), text) for scale, weights in ((20, first), (35, np.repeat(even, len(first), 0)))
    )
    p = np.stack([softmax(row - other) for row, other in zip(a, u, strict=True)])
    inner, margin, kept, similarity = fed_back(p, sharpness)
    w = np.eye(tokens)
    w[prefix:, prefix:] = inner
    attention = np.stack([(w @ head + head @ w + w) / 3 for head in first])
    return Outcome(attention, close(attention), margin, kept, similarity, p)


def cosines(features: Array, text: Array) -> Array:
    """(D, h, w), (Q, D) -> (h·w, Q)"""
    return np.array([[row @ t / np.sqrt(row @ row) for t in text] for row in guided.places(features)])


def on_proxyclip(
    x: Array,
    w: LastBlockWeights,
    grid: tuple[int, int],
    guide: Array,
    text: Array,
    sharpness: float = 3.0,
    **options: float,
) -> Outcome:
    """Of one window's X (T, C) and its guide's features (C_g, H, W)."""
    values = guided.places(guided.bilinear(guided.picture_of(guided.values(x, w), grid), guide.shape[1:]))

    def close(attention: Array) -> Array:
        out = attention[0] @ values @ w.block["attn.out_proj.weight"].T + w.block["attn.out_proj.bias"]
        return guided.read_out(guided.picture_of(out, guide.shape[1:]), w)

    return fsa(guided.proxy(guided.places(guide), **options)[None], close, text, sharpness, 0)


def on_attention(
    x: Array,
    w: LastBlockWeights,
    grid: tuple[int, int],
    attention: Callable[[Projected], Array],
    text: Array,
    sharpness: float = 3.0,
    **block: bool,
) -> Outcome:
    """Of one window's X (T, C) over another attention of the last block."""

    def close(weights: Array) -> Array:
        return last_block(x[None], w, grid, lambda p: weights, **block)[0]

    return fsa(attention(project(x, w, grid)), close, text, sharpness, 1)
