"""RF-CLIP a second time: float64, block by block and token by token, the filter's box counted out patch by patch.

Nothing of sclip_seg is used here.
"""

from dataclasses import dataclass

import numpy as np
from formulas import LastBlockWeights, correlation, feed_forward, layer_norm, output, project
from numpy import ndarray as Array


@dataclass(frozen=True)
class Settings:
    channels: tuple[int, ...]
    sigma: float | None = 5.0
    similarity: float = 0.4
    refocus: float | None = None


@dataclass
class Seen:
    """What came of a window: X^0 .. X^{L-1} and E, who was flagged, both B, features, and how near a choice was."""

    states: list[Array]
    flagged: list[list[bool]]
    weights: list[Array]
    features: Array
    margin: float


def flagged(row: Array, s: Settings) -> tuple[bool, float]:
    """Whether a patch stands out, and how far it is from that."""
    above = row - row.min()
    largest = max(above[c] for c in s.channels) / above.sum() * len(row)
    return largest > s.sigma, abs(largest - s.sigma)


def filtered(x: Array, grid: tuple[int, int], s: Settings) -> tuple[Array, list[bool], float]:
    """Of tokens (T, C), the first the class token."""
    if s.sigma is None:
        return x, [], np.inf
    height, width = grid
    field, out = x[1:].reshape(height, width, -1), x.copy()
    found, margin = [], np.inf
    for i in range(height):
        for j in range(width):
            stands_out, distance = flagged(field[i, j], s)
            found.append(stands_out)
            margin = min(margin, distance)
            if stands_out:
                around = np.zeros(x.shape[1])
                for a in range(max(i - 1, 0), min(i + 2, height)):
                    for b in range(max(j - 1, 0), min(j + 2, width)):
                        around += field[a, b] / 9
                out[1 + i * width + j] = 0.6 * field[i, j] + 0.4 * around
    return out, found, margin


def refocused(weights: Array, threshold: float) -> tuple[Array, float]:
    """Of one head (T, T)."""
    out, tokens = weights.copy(), len(weights)
    shares = [sum(weights[i, j] for i in range(1, tokens)) / tokens for j in range(1, tokens)]
    sinks = [1 + j for j, share in enumerate(shares) if share > threshold]
    others = [j for j in range(1, tokens) if j not in sinks]
    for i in range(1, tokens):
        taken = sum(0.4 * weights[i, j] for j in sinks)
        total = sum(weights[i, j] for j in others) + 1e-8
        for j in sinks:
            out[i, j] = 0.6 * weights[i, j]
        for j in others:
            out[i, j] += taken * weights[i, j] / total
    return out, min(abs(share - threshold) for share in shares)


def block(x: Array, w: LastBlockWeights, grid: tuple[int, int], refocus: float | None) -> tuple[Array, float]:
    p = project(x, w, grid)
    weights, margin = correlation(p.q, p.k), np.inf
    if refocus is not None:
        heads = [refocused(head, refocus) for head in weights]
        weights, margin = np.stack([head for head, _ in heads]), min(m for _, m in heads)
    u = x + output(np.stack([a @ v for a, v in zip(weights, p.v, strict=True)]), w)
    return u + feed_forward(layer_norm(u, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block), margin


def window(start: Array, tower: list[LastBlockWeights], grid: tuple[int, int], s: Settings) -> Seen:
    """Of the trunk's start X^0 (T, C)."""
    states, found, margin, keys = [start], [], np.inf, []
    for index, w in enumerate(tower):
        k = project(states[-1], w, grid).k
        keys.append(correlation(k, k)[:, 1:, 1:])
        x, near = block(states[-1], w, grid, None if index == len(tower) - 1 else s.refocus)
        x, own, distance = filtered(x, grid, s)
        states.append(x)
        found.append(own)
        margin = min(margin, near, distance)
    guide = sum(states[1:]) / len(tower)
    unit = [row / np.sqrt(row @ row) for row in guide[1:]]
    cosines = np.array([[a @ b for b in unit] for a in unit])
    margin = min(margin, abs(cosines - s.similarity).min())
    similar = np.where(cosines >= s.similarity, cosines, 0)
    last, both, out = tower[-1], [], 0
    for tokens in (states[-2], guide):
        mended = np.concatenate([tokens[:1], similar @ tokens[1:]])
        p = project(mended, last, grid)
        weights = (sum(keys[:-1]) + correlation(p.k, p.k)[:, 1:, 1:]) / len(tower)
        both.append(weights)
        out = out + output(np.stack([a @ v[1:] for a, v in zip(weights, p.v, strict=True)]), last) / 2
    joint = layer_norm(out, last.post["weight"], last.post["bias"]) @ last.proj
    return Seen(states, found, both, joint.T.reshape(-1, *grid), margin)
