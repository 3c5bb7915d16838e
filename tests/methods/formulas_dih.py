"""DIH-CLIP a second time: float64, one window at a time, raw weights; nothing of sclip_seg is used.

P patches of a grid (h, w), T = P + 1 tokens; X_l is the output of block l, counted from 1, and X_0 the trunk's start.
"""

from dataclasses import dataclass

import numpy as np
from formulas import LastBlockWeights, Projected, correlation, project
from formulas_paths import joint
from formulas_scclip import aggregate, cosines, plain_states
from formulas_sfp import semantic
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
    heads: int = 4


@dataclass(frozen=True)
class Window:
    """Entropies (3, heads) of the middle block and of both passes, N(T), both passes' joined maps, features (P, D)."""

    entropy: Array
    spread: Array
    joined: list[Array]
    features: Array


def entropy(maps: Array) -> Array:
    """-Σ p log₂(p + 1e-6) over each head's whole map. (heads,)."""
    out = np.zeros(len(maps))
    for head, rows in enumerate(maps):
        for row in rows:
            for p in row:
                out[head] -= p * np.log2(p + 1e-6)
    return out


def selected(entropies: Array, count: int) -> list[int]:
    """The heads whose entropy is among the `count` least."""
    least = sorted(entropies)[:count]
    return [head for head in range(len(entropies)) if entropies[head] in least]


def whole_values(p: Projected) -> Array:
    """All heads' values side by side, (T, C)."""
    return np.concatenate(list(p.v), axis=1)


def through(values: Array, w: LastBlockWeights) -> Array:
    """W_o and b_o of (T, C)."""
    return values @ w.block["attn.out_proj.weight"].T + w.block["attn.out_proj.bias"]


def window(start: Array, blocks: list[LastBlockWeights], grid: tuple[int, int], s: Settings) -> Window:
    """Of the trunk's start X_0 (T, C)."""
    w, states = blocks[-1], [*plain_states(start, blocks, grid)]
    middle = project(states[s.mid - 1], blocks[s.mid - 1], grid)
    found = [entropy(correlation(middle.q, middle.k))]
    keys, extra = correlation(middle.k, middle.k), 0
    for head in selected(found[0], s.heads):
        extra = extra + keys[head] @ whole_values(middle)
    enhanced = states[s.mid] + through(extra, blocks[s.mid - 1])
    similar = cosines(enhanced[1:])
    spread = aggregate(cosines(states[s.post][1:]), s.beta)

    summed, g = sum(states[number] for number in s.fused), semantic(similar, s.sharpness)
    calm = aggregate(similar, s.beta) @ states[-1][1:]
    joined, total = [], 0
    for patches, class_token in ((calm, states[-1][0]), (summed[1:], summed[0])):
        p = project(patches, w, grid)
        maps = (g + correlation(p.k, p.k)) / 2
        found.append(entropy(maps))
        joined.append(sum(maps[head] for head in selected(found[-1], s.heads)) / w.heads)
        total = total + spread @ (through(joined[-1] @ whole_values(p), w) + s.class_weight * class_token)
    return Window(np.stack(found), spread, joined, joint(total, w))
