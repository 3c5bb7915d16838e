"""CorrCLIP a second time: float64, cell by cell, from the raw weights of every block; nothing of sclip_seg is used.

`states` are X^0 .. X^(L-1) of one window, (T, C) each; a guide's features (C', H', W'); regions (H, W) with VOID = -1.
"""

from dataclasses import dataclass

import numpy as np
from formulas import LastBlockWeights, feed_forward, layer_norm, output, project, softmax, split
from formulas_guided import bilinear, picture_of, places
from formulas_paths import unit
from numpy import ndarray as Array

VOID = -1


@dataclass(frozen=True)
class Window:
    """What comes of one window; `margin` is how near rounding is to deciding anything."""

    features: Array
    merged: Array
    attention: Array
    margin: float


def nearest(ids: Array, size: tuple[int, int]) -> Array:
    """Cell ⌊i · in / out⌋."""
    height, width = ids.shape
    out = np.empty(size, ids.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            out[row, column] = ids[int(row * height / size[0]), int(column * width / size[1])]
    return out


def void_number(ids: Array, rule: str) -> int:
    return ids.min() if rule == "smallest" else VOID


def merge(ids: Array, f: Array, bound: float, void: int) -> tuple[Array, float]:
    """Regions joined as long as any two of different ones are close enough; and the margin."""
    numbers = [number for number in np.unique(ids) if number != void]
    if len(numbers) < 2:
        return ids, np.inf
    rows = ids.ravel()
    means = unit(np.stack([np.mean([f[i] for i in range(len(f)) if rows[i] == number], axis=0) for number in numbers]))
    cosine = means @ means.T
    own = list(range(len(numbers)))
    for _ in numbers:
        for a in range(len(numbers)):
            for b in range(len(numbers)):
                if cosine.max() - cosine[a, b] <= bound:
                    own[a] = own[b] = min(own[a], own[b])
    merged = ids.copy()
    for number, group in zip(numbers, own, strict=True):
        merged[ids == number] = 1000 + group
    return merged, float(np.abs(cosine.max() - cosine - bound).min())


def scope(f: Array, ids: Array, void: int, sharpness: float) -> tuple[Array, float]:
    """A (P, P), and the least distance of any S from its mean where void is concerned."""
    s, rows = f @ f.T, ids.ravel()
    mean, margin = s.sum() / s.size, np.inf
    a = np.zeros_like(s)
    for i in range(len(s)):
        seen = []
        for j in range(len(s)):
            if rows[i] == rows[j] != void:
                seen.append(j)
            elif void in (rows[i], rows[j]):
                margin = min(margin, abs(s[i, j] - mean))
                if s[i, j] > mean:
                    seen.append(j)
        a[i, seen] = softmax(sharpness * s[i, seen])
    return a, margin


def all_void(guide: Array, finer: int | None = None) -> Array:
    """A (1, P, P) where no region is known, of a guide's features (C, H, W), or of them on a finer grid."""
    if finer is not None:
        guide = bilinear(guide / np.sqrt((guide**2).sum(0)), tuple(finer * side for side in guide.shape[1:]))
    return scope(unit(places(guide)), np.full(guide.shape[1:], VOID), VOID, 4.0)[0][None]


def stream(x: Array, w: LastBlockWeights, grid: tuple[int, int], a: Array, fine: tuple[int, int]) -> Array:
    """W_o A V + b_o with V on the fine grid."""
    v = np.concatenate(list(project(x, w, grid).v), axis=1)[1:]
    values = places(bilinear(picture_of(v, grid), fine))
    return output(split(a @ values, w.heads), w)


def side(states: list[Array], tower: list[LastBlockWeights], coarse: Array, number: int) -> Array:
    """c_r after all blocks: a class token that looks at the class token and its region's patches."""
    c = states[0][0]
    seen = [0, *(1 + i for i, own in enumerate(coarse.ravel()) if own == number)]
    for x, w in zip(states, tower, strict=True):
        tokens, own = project(x, w, coarse.shape), project(c[None], w, (1, 1))
        heads = []
        for head in range(w.heads):
            weights = softmax(np.array([own.q[head, 0] @ tokens.k[head, j] for j in seen]) / own.q.shape[2] ** 0.5)
            heads.append(weights @ tokens.v[head, seen])
        c = c + output(np.stack(heads)[:, None], w)[0]
        c = c + feed_forward(layer_norm(c[None], w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)[0]
    return c


def corrclip(
    states: list[Array],
    tower: list[LastBlockWeights],
    grid: tuple[int, int],
    guide: Array,
    ids: Array,
    blocks: tuple[int, ...],
    merging: float | None = 0.2,
    sharpness: float = 4.0,
    void: str = "smallest",
) -> Window:
    """One window; `blocks`, from 1, make the spatial stream."""
    fine, f = guide.shape[1:], unit(places(guide))
    own = nearest(ids, fine)
    number = void_number(own, void)
    merged, first = (own, np.inf) if merging is None else merge(own, f, merging, number)
    a, second = scope(f, merged, number, sharpness)
    coarse = nearest(merged, grid)
    tokens = {region: side(states, tower, coarse, region) for region in np.unique(coarse)}
    main = stream(states[-1], tower[-1], grid, a, fine)
    spatial = stream(np.mean([states[block] for block in blocks], axis=0), tower[-1], grid, a, fine)
    semantic = np.stack([tokens[region] for region in nearest(coarse, fine).ravel()])
    post = [layer_norm(x, tower[-1].post["weight"], tower[-1].post["bias"]) for x in (main, spatial, semantic)]
    features = (post[0] + post[1] + 0.5 * post[2]) @ tower[-1].proj
    return Window(picture_of(features, fine), merged, a, min(first, second))


def vote(labels: Array, ids: Array, void: int) -> Array:
    """Each region's commonest label, of equals the lower one."""
    out = labels.copy()
    for number in np.unique(ids):
        if number != void:
            inside = labels[ids == number]
            counts = [(np.sum(inside == label), -label) for label in np.unique(inside)]
            out[ids == number] = -max(counts)[1]
    return out


def support(queries: Array, keys: Array, values: Array, text: Array, count: int) -> Array:
    """(R, Q)"""
    rows = []
    for query in unit(queries):
        order = sorted(range(len(keys)), key=lambda i: -(unit(keys[i : i + 1])[0] @ query))
        mean = np.mean([values[i] for i in order[:count]], axis=0)
        rows.append([mean @ words / np.sqrt(mean @ mean) for words in text])
    return np.array(rows)
