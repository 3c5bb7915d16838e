"""ResCLIP's equations a second time: float64, plain loops, raw weights, nothing of sclip_seg.

Windows are taken one by one. T = 1 + P tokens, the first the class token; P = h·w patches; Q queries.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
from formulas import LastBlockWeights, correlation, feed_forward, gaussian, layer_norm, output, project
from numpy import ndarray as Array

PATCH = 8  # pixels, of the tests' tower


@dataclass(frozen=True)
class Settings:
    """What ResCLIP may be asked for, and what it does unasked."""

    base: str = "naclip"
    residual: bool = False
    mlp: bool = False
    sigma: float = 5.0
    rcs: float | None = 0.5
    rcs_scale: float = 2.0
    rcs_blocks: tuple[int, ...] = (6, 7, 8, 9)
    tower: int | None = 12
    sfr: float | None = 0.7
    sfr_scale: float = 2.0
    threshold: float = 0.1
    logit_scale: float = 40.0
    pamr: bool = True
    sight: str = "released"
    blur: str = "raster"
    scaling: str = "global"
    half: bool = False


@dataclass(frozen=True)
class Outcome:
    """Features (D, h, w), and what the feedback came from: labels (P,), Ŝ (P, P), how far the pixels are from a tie
    or the threshold in probability, and how many of them are below the threshold."""

    features: Array
    labels: Array | None = None
    feedback: Array | None = None
    margin: float = float("inf")
    unsure: int = 0


def blocks_of(visual) -> list[LastBlockWeights]:
    """The weights of every block of an open_clip tower, each with LN_post and proj."""
    last = LastBlockWeights.of(visual)
    out = []
    for block in visual.transformer.resblocks:
        arrays = {name: tensor.detach().double().numpy() for name, tensor in block.state_dict().items()}
        out.append(LastBlockWeights(arrays, last.post, last.proj, last.heads))
    return out


def mapped(blocks: tuple[int, ...], tower: int | None, depth: int) -> list[int]:
    """Blocks, counted from 1 in a tower of `tower` blocks, in one of `depth`; each once."""
    if tower is None:
        return sorted(set(blocks))
    return sorted({max(1, int(np.floor(block * depth / tower + 0.5))) for block in blocks})


def trunk(x: Array, blocks: list[LastBlockWeights], grid: tuple[int, int]) -> tuple[Array, list[Array]]:
    """X (T, C) before the first block -> the last block's input, and A (heads, T, T) of the blocks before it."""
    maps = []
    for w in blocks[:-1]:
        p = project(x, w, grid)
        maps.append(correlation(p.q, p.k))
        x = x + output(maps[-1] @ p.v, w)
        x = x + feed_forward(layer_norm(x, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)
    return x, maps


def attention(pairs: list[tuple[Array, Array]], hint: Array | None, bias: Array | None, s: Settings) -> Array:
    """Σ over the base's pairs of softmax(S1 + Ω), S1 = S0 or τs((1 - λs) S0 + λs Ŝ): (heads, T, T)."""
    total = 0
    for left, right in pairs:
        if hint is None:
            total = total + correlation(left, right, bias)
            continue
        share = s.sfr * hint
        if s.half:  # released: a half-precision map times a number stays one
            share = share.astype(np.float16).astype(np.float64)
        added = s.sfr_scale * share
        if bias is not None:
            added = added + bias
        total = total + correlation(s.sfr_scale * (1 - s.sfr) * left, right, added)
    return total


def last_block(
    x: Array, w: LastBlockWeights, grid: tuple[int, int], mean: Array | None, hint: Array | None, s: Settings
) -> Array:
    """Patch features (D, h, w) of the last block read ResCLIP's way. `mean` is A_c, `hint` Ŝ with the class token."""
    p = project(x, w, grid)
    pairs = {
        "naclip": [(p.k, p.k)],
        "clearclip": [(p.q, p.q)],
        "vanilla": [(p.q, p.k)],
        "sclip": [(p.q, p.q), (p.k, p.k)],
    }[s.base]
    weights = attention(pairs, hint, gaussian(grid, s.sigma) if s.base == "naclip" else None, s)
    if mean is not None:
        weights = s.rcs_scale * ((1 - s.rcs) * weights + s.rcs * mean)
    u = output(weights @ p.v, w)
    if s.residual:
        u = x + u
    if s.mlp:
        u = u + feed_forward(layer_norm(u, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)
    joint = layer_norm(u, w.post["weight"], w.post["bias"]) @ w.proj
    return joint[1:].T.reshape(-1, *grid)


def resclip(
    x: Array, image: Array, text: Array | None, blocks: list[LastBlockWeights], grid: tuple[int, int], s: Settings
) -> Outcome:
    """The method on one window: X (T, C) before the first block, pixels (3, H, W), unit queries (Q, D)."""
    x, maps = trunk(x, blocks, grid)
    mean = None
    if s.rcs is not None:
        chosen = mapped(s.rcs_blocks, s.tower, len(blocks))
        mean = sum(maps[block - 1] for block in chosen) / len(chosen)
    first = last_block(x, blocks[-1], grid, mean, None, s)
    if s.sfr is None:
        return Outcome(first)
    probability = pixel_probability(first, image, text, s)
    ranked = np.sort(probability, axis=0)
    labels = patch_labels(probability, s.threshold, PATCH, grid)
    hint = feedback(labels, grid, s.sigma, s.sight, s.blur, s.scaling)
    if s.half:
        hint = hint.astype(np.float16).astype(np.float64)
    with_class = np.zeros((len(x), len(x)))
    with_class[1:, 1:] = hint
    margin = min((ranked[-1] - ranked[-2]).min(), abs(ranked[-1] - s.threshold).min())
    unsure = int((ranked[-1] < s.threshold).sum())
    return Outcome(last_block(x, blocks[-1], grid, mean, with_class, s), labels, hint, margin, unsure)


def pixel_probability(features: Array, image: Array, text: Array, s: Settings) -> Array:
    """softmax(scale · cosine) over the queries at every pixel of the window, refined before it: (Q, H, W)."""
    unit = features / np.sqrt((features**2).sum(0))
    cosines = np.einsum("qd,dhw->qhw", text, unit)
    rows, columns = stretch(features.shape[1], image.shape[1]), stretch(features.shape[2], image.shape[2])
    cosines = np.einsum("yh,qhw,xw->qyx", rows, cosines, columns)
    if s.pamr:
        cosines = pamr(cosines, image, 10, (8, 16))
    powers = np.exp(s.logit_scale * cosines - (s.logit_scale * cosines).max(0))
    return powers / powers.sum(0)


def stretch(length: int, target: int) -> Array:
    """The matrix (target, length) of bilinear interpolation, align_corners=False."""
    matrix = np.zeros((target, length))
    for index in range(target):
        at = max((index + 0.5) * length / target - 0.5, 0.0)
        low = min(int(at), length - 1)
        matrix[index, low] += 1 - (at - low)
        matrix[index, min(low + 1, length - 1)] += at - low
    return matrix


def pamr(maps: Array, picture: Array, steps: int, dilations: tuple[int, ...]) -> Array:
    """m <- Σ_o a_o m(u + o), a = softmax_o mean_channels(-|x(u) - x(u + o)| / (1e-8 + 0.1 σ)), borders replicated."""
    _, height, width = maps.shape

    def moved(x: Array, dy: int, dx: int) -> Array:
        return x[:, np.clip(np.arange(height) + dy, 0, height - 1)][:, :, np.clip(np.arange(width) + dx, 0, width - 1)]

    offsets = [(d * dy, d * dx) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    deviation = np.std([moved(picture, *offset) for offset in offsets], axis=0, ddof=1)
    around = [offset for offset in offsets if offset != (0, 0)]
    near = [-(abs(picture - moved(picture, *o)) / (1e-8 + 0.1 * deviation)).mean(0) for o in around]
    powers = np.exp(np.stack(near) - np.max(near, axis=0))
    weights = powers / powers.sum(0)
    for _ in range(steps):
        maps = sum(weight * moved(maps, *offset) for weight, offset in zip(weights, around, strict=True))
    return maps


def patch_labels(probability: Array, threshold: float, patch: int, grid: tuple[int, int]) -> Array:
    """The commonest label of each patch's pixels, the smallest of equals; unsure pixels count as query 0: (P,)."""
    labels = []
    for top, left in product(range(grid[0]), range(grid[1])):
        votes = Counter()
        for y, x in product(range(top * patch, (top + 1) * patch), range(left * patch, (left + 1) * patch)):
            winner = int(probability[:, y, x].argmax())
            votes[0 if probability[winner, y, x] < threshold else winner] += 1
        labels.append(min(votes, key=lambda label: (-votes[label], label)))
    return np.array(labels)


def patches_of(grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column of every patch, in raster order."""
    return list(product(range(grid[0]), range(grid[1])))


def chebyshev(a: tuple[int, int], b: tuple[int, int]) -> int:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))


def samples(start: tuple[int, int], end: tuple[int, int], over: int) -> Iterator[tuple[Fraction, ...]]:
    """The points start + (end - start) k / over for k = 0 .. their distance, exactly."""
    for k in range(chebyshev(start, end) + 1):
        part = Fraction(k, over) if over else Fraction(0)
        yield tuple(a + (b - a) * part for a, b in zip(start, end, strict=True))


@cache
def halfway(grid: tuple[int, int]) -> Array:
    """Pairs (P, P) with a released sample exactly between two patches, where fp32 may round to either."""
    places = patches_of(grid)
    pairs = product(places, repeat=2)
    found = [any(at.denominator == 2 for point in samples(*pair, max(grid) - 1) for at in point) for pair in pairs]
    return np.array(found).reshape(len(places), len(places))


def components(picture: Array) -> Array:
    """Number of the 8-connected component of equal label that each patch is in: (h, w)."""
    number = np.full(picture.shape, -1)
    for seed in patches_of(picture.shape):
        if number[seed] >= 0:
            continue
        number[seed], waiting = number.max() + 1, [seed]
        while waiting:
            here = waiting.pop()
            for there in patches_of(picture.shape):
                if chebyshev(here, there) == 1 and number[there] < 0 and picture[there] == picture[seed]:
                    number[there] = number[seed]
                    waiting.append(there)
    return number


def in_sight(labels: Array, grid: tuple[int, int], rule: str) -> Array:
    """V (P, P): whether patch j is in sight of patch i."""
    picture, places = labels.reshape(grid), patches_of(grid)
    seen = np.zeros((len(places), len(places)), dtype=bool)
    part = components(picture) if rule == "component" else None
    for i, start in enumerate(places):
        for j, end in enumerate(places):
            if rule == "component":
                seen[i, j] = part[start] == part[end]
                continue
            over = max(grid) - 1 if rule == "released" else chebyshev(start, end)
            met = (tuple(round(at) for at in point) for point in samples(start, end, over))  # round: half to even
            seen[i, j] = all(picture[place] == picture[start] for place in met)
    return seen


def kernel(side: int, sigma: float) -> Array:
    """A normalised Gaussian of min(side, int(6σ + 1)) taps, one more where that is even."""
    taps = min(side, int(6 * sigma + 1))
    taps += taps % 2 == 0
    powers = np.array([np.exp(-((k - taps // 2) ** 2) / (2 * sigma**2)) for k in range(taps)])
    return powers / powers.sum()


def blurred(row: Array, weights: Array) -> Array:
    """The row under the kernel, zeros beyond its ends, same length."""
    out, radius = np.zeros_like(row), len(weights) // 2
    for j in range(len(row)):
        for k, weight in enumerate(weights):
            if 0 <= j + k - radius < len(row):
                out[j] += weight * row[j + k - radius]
    return out


def feedback(labels: Array, grid: tuple[int, int], sigma: float, sight: str, blur: str, scaling: str) -> Array:
    """Ŝ (P, P) of patches: [m_i = m_j](V + (1 - V) D), D = exp(-c / c_max), smoothed, rows over their sums, scaled."""
    places = patches_of(grid)
    seen = in_sight(labels, grid, sight)
    out = np.zeros((len(places), len(places)))
    for i, j in product(range(len(places)), repeat=2):
        if labels[i] == labels[j]:
            out[i, j] = 1 if seen[i, j] else np.exp(-chebyshev(places[i], places[j]) / (max(grid) - 1))
    for i, row in enumerate(out):
        if blur == "raster":
            out[i] = blurred(row, kernel(len(row), sigma))
        else:
            picture = np.stack([blurred(line, kernel(grid[1], sigma)) for line in row.reshape(grid)])
            out[i] = np.stack([blurred(line, kernel(grid[0], sigma)) for line in picture.T]).T.ravel()
    for i in range(len(out)):
        out[i] /= out[i].sum() + 1e-8
    return out / (out.max() if scaling == "global" else out.max(1, keepdims=True))
