"""GLA-CLIP a second time: float64, from raw weights, row by row of the tokens of all windows of a picture.

Nothing of sclip_seg is used here. Windows are counted row by row, and so are the places of each;
token = window · places of a window + place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import formulas_guided as guided
import numpy as np
from formulas import LastBlockWeights, softmax
from numpy import ndarray as Array


@dataclass(frozen=True)
class Row:
    """What one token makes of all: weights (N,), the keys in its proxy, the entries that are left, its mean similarity.

    `risk` is the least distance of a similarity to ρ, in any round, or of an entry to the cut: rounding may flip it.
    """

    weights: Array
    count: int
    kept: int
    mean: float
    risk: float


def unit(vector: Array) -> Array:
    length = np.sqrt(vector @ vector)
    return vector / length if length > guided.KEPT else vector * 0


def unit_keys(windows: list[Array]) -> Array:
    """Guide features (C, H, W) of each window -> k (N, C)."""
    return np.stack([unit(place) for window in windows for place in guided.places(window)])


def joint_row(
    keys: Array,
    token: int,
    windows: int,
    rho: float = 0.55,
    rounds: int = 2,
    beta: float | None = 0.3,
    gamma: float | None = 30.0,
    mean: float | None = None,
) -> Row:
    """The row of one token among unit keys (N, C) of so many windows; `mean`: another than the row's own."""
    proxy, count, risk = keys[token], 0, np.inf
    for number in range(max(rounds, 1)):
        similar = keys @ proxy
        near = [j for j in range(len(keys)) if similar[j] > rho] or [token]
        count, risk = len(near), min(risk, np.abs(similar - rho).min())
        if number < rounds:
            proxy = unit(sum(keys[j] for j in near) / (count + 1e-6))
    similar = keys @ proxy
    u = 1.2 if beta is None else 1 + beta * np.log(1 + windows)
    middle = similar.mean() if mean is None else mean
    entries = (similar - u * max(middle, 0)) * (3 if gamma is None else 1 + gamma / count)
    kept = [j for j in range(len(keys)) if entries[j] >= min(entries.max(), 0)]
    weights = np.zeros(len(keys))
    weights[kept] = softmax(entries[kept])
    return Row(weights, count, len(kept), middle, min(risk, np.abs(entries).min()))


def joint_rows(keys: Array, windows: int, **options) -> list[Row]:
    return [joint_row(keys, token, windows, **options) for token in range(len(keys))]


def joint_weights(keys: Array, windows: int, **options) -> Array:
    """P (N, N)"""
    return np.stack([row.weights for row in joint_rows(keys, windows, **options)])


def features(
    states: list[Array],
    w: LastBlockWeights,
    grid: tuple[int, int],
    target: tuple[int, int],
    weights: Array,
    resample: Callable[[Array, tuple[int, int]], Array] = guided.bilinear,
) -> list[Array]:
    """Features (D, H, W) of each window of one picture, on the grid `target` of its guide, mixed by `weights` P (N, N).

    `states` (T, C) are the inputs of CLIP's last block, whose patches lie on `grid`.
    """
    picture = [guided.picture_of(guided.values(x, w), grid) for x in states]
    values = np.concatenate([guided.places(resample(own, target)) for own in picture])
    mixed = weights @ values @ w.block["attn.out_proj.weight"].T + w.block["attn.out_proj.bias"]
    windows = np.split(mixed, len(states))
    return [guided.read_out(guided.picture_of(own, target), w) for own in windows]
