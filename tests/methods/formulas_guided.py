"""ProxyCLIP, Trident and what they take from their guides a second time: float64, from raw weights.

Nothing of sclip_seg is used here. A map is (C, h, w); its P = h·w places are counted row by row. X (T, C) is the input
of CLIP's last block, its first token the class token.
"""

import numpy as np
from formulas import LastBlockWeights, layer_norm, softmax
from numpy import ndarray as Array

KEPT, CEILING, REPLACED = 1e-12, 0.9, 0.6


def places(picture: Array) -> Array:
    """(C, h, w) -> (h·w, C)"""
    height, width = picture.shape[1:]
    return np.stack([picture[:, row, column] for row in range(height) for column in range(width)])


def picture_of(rows: Array, grid: tuple[int, int]) -> Array:
    """(h·w, C) -> (C, h, w)"""
    height, width = grid
    return np.stack([[rows[row * width + column] for column in range(width)] for row in range(height)]).transpose(
        2, 0, 1
    )


def linear(source: int, target: int) -> Array:
    """(target, source): samples between centres, the ends repeated (align_corners=False)."""
    matrix = np.zeros((target, source))
    for index in range(target):
        place = max((index + 0.5) * source / target - 0.5, 0)
        low = int(place)
        matrix[index, low] += 1 - (place - low)
        matrix[index, min(low + 1, source - 1)] += place - low
    return matrix


def cubic(source: int, target: int, scale: float) -> Array:
    """(target, source): Keys' kernel, a = -0.75, without antialias; centres a factor `scale` apart, ends repeated."""
    a = -0.75

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    matrix = np.zeros((target, source))
    for index in range(target):
        place = (index + 0.5) / scale - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[index, min(max(tap, 0), source - 1)] += kernel(place - tap)
    return matrix


def separable(picture: Array, rows: Array, columns: Array) -> Array:
    return np.stack([rows @ channel @ columns.T for channel in picture])


def bilinear(picture: Array, size: tuple[int, int]) -> Array:
    """(C, h, w) -> (C, *size)"""
    rows, columns = (linear(n, target) for n, target in zip(picture.shape[1:], size, strict=True))
    return separable(picture, rows, columns)


def position_table(table: Array, native: tuple[int, int], grid: tuple[int, int], offset: float = 0.1) -> Array:
    """DINO's rule for a table (h0·w0, C) of patches: bicubic with the scale factor (g + 0.1)/g0. (h·w, C)."""
    rows, columns = (cubic(n, g, (g + offset) / n) for n, g in zip(native, grid, strict=True))
    return places(separable(picture_of(table, native), rows, columns))


def cosine(a: Array, b: Array) -> float:
    lengths = np.sqrt(a @ a) * np.sqrt(b @ b)
    return a @ b / lengths if lengths > KEPT else 0.0


def similarity(features: Array) -> Array:
    """S_ij = <f̂_i, f̂_j> of (P, C)."""
    return np.array([[cosine(a, b) for b in features] for a in features])


def shared_mean(windows: list[Array]) -> float:
    """The mean of all similarities within each of several windows (P, C) of one picture, windows of a size."""
    return float(np.mean([similarity(features).mean() for features in windows]))


def proxy(features: Array, beta: float = 1.2, gamma: float = 3.0, mean: float | None = None) -> Array:
    """softmax_j of γ(S_ij - β mean S) where that is not negative or i = j, nothing elsewhere: (P, P) of (P, C)."""
    s = similarity(features)
    middle = s.sum() / s.size if mean is None else mean
    weights = np.zeros_like(s)
    for i, row in enumerate(s):
        logits = gamma * (row - beta * middle)
        kept = [j for j in range(len(row)) if logits[j] >= 0 or j == i]
        weights[i, kept] = softmax(logits[kept])
    return weights


def values(x: Array, w: LastBlockWeights) -> Array:
    """W_v LN1(X) + b_v of the patches: (T, C) -> (T - 1, C)."""
    y, width = layer_norm(x, w.block["ln_1.weight"], w.block["ln_1.bias"])[1:], x.shape[1]
    return y @ w.block["attn.in_proj_weight"][2 * width :].T + w.block["attn.in_proj_bias"][2 * width :]


def guided(
    x: Array,
    w: LastBlockWeights,
    grid: tuple[int, int],
    guide: Array,
    beta: float = 1.2,
    gamma: float = 3.0,
    mean: float | None = None,
) -> Array:
    """W_o [P Ṽ_1 || ... || P Ṽ_n] + b_o on the grid of `guide` (C_g, H, W), Ṽ_m bilinear from CLIP's: (C, H, W)."""
    attention = proxy(places(guide), beta, gamma, mean)
    heads = np.split(values(x, w), w.heads, axis=1)
    mixed = [attention @ places(bilinear(picture_of(head, grid), guide.shape[1:])) for head in heads]
    out = np.concatenate(mixed, axis=1) @ w.block["attn.out_proj.weight"].T + w.block["attn.out_proj.bias"]
    return picture_of(out, guide.shape[1:])


def read_out(picture: Array, w: LastBlockWeights) -> Array:
    """LN_post, then proj: (C, h, w) -> (D, h, w)."""
    return picture_of(layer_norm(places(picture), w.post["weight"], w.post["bias"]) @ w.proj, picture.shape[1:])


def proxyclip(x: Array, w: LastBlockWeights, grid: tuple[int, int], guide: Array, **options: float) -> Array:
    """ProxyCLIP's features (D, H, W) of one window, on the guide's grid."""
    return read_out(guided(x, w, grid, guide, **options), w)


def on_clips_cells(picture: Array, grid: tuple[int, int]) -> Array:
    """Brings (C, H, W) to r cells a patch, r = round(H/h) and at least 1, where it has another number of them."""
    ratio = max(round(picture.shape[1] / grid[0]), 1)
    size = (ratio * grid[0], ratio * grid[1])
    return picture if picture.shape[1:] == size else bilinear(picture, size)


def splice(tiles: list[Array], corners: list[tuple[int, int]], size: tuple[int, int]) -> Array:
    """The mean in each cell of the windows (C, h, w) that cover it, laid at `corners` (top, left): (C, *size)."""
    total, count = np.zeros((len(tiles[0]), *size)), np.zeros(size)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        for row in range(tile.shape[1]):
            for column in range(tile.shape[2]):
                total[:, top + row, left + column] += tile[:, row, column]
                count[top + row, left + column] += 1
    return total / count


def masked_affinity(weights: Array, values: Array, kappa: float, mend: bool) -> Array:
    """SAM's last attention (heads, T, T) where the values (heads, T, d) agree, rows scaled to sum 1: (T, T).

    C^k_ij is the cosine of values i and j of head k; τ_i = κ · mean_kj C^k_ij, 0.6 where it is negative (`mend`), at
    most 0.9; M_ij = mean_k W^k_ij [C^k_ij > τ_i].
    """
    heads, count, _ = values.shape
    agreement = np.stack([similarity(head) for head in values])
    out = np.zeros((count, count))
    for i in range(count):
        threshold = kappa * sum(agreement[k, i, j] for k in range(heads) for j in range(count)) / (heads * count)
        threshold = REPLACED if mend and threshold < 0 else threshold
        threshold = min(threshold, CEILING)
        for j in range(count):
            out[i, j] = sum(weights[k, i, j] for k in range(heads) if agreement[k, i, j] > threshold) / heads
        out[i] /= out[i].sum()
    return out


def aggregated(canvas: Array, affinity: Array, grid: tuple[int, int], w: LastBlockWeights) -> Array:
    """The canvas (C, h, w) brought to the affinity's `grid`, mixed by it and read out: (D, *grid)."""
    return read_out(picture_of(affinity @ places(bilinear(canvas, grid)), grid), w)


def axis_bias(queries: Array, table: Array, place: Array) -> Array:
    """SAM's relative positions of one axis: q_i · r[x_i - x_j + n - 1] for (T, d), a table (2n - 1, d), places (T,)."""
    side = (len(table) + 1) // 2
    return np.array([[q @ table[a - b + side - 1] for b in place] for q, a in zip(queries, place, strict=True)])


def relative_attention(q: Array, k: Array, rows: Array, columns: Array, grid: tuple[int, int]) -> Array:
    """softmax(q kᵀ/√d + bias of rows + bias of columns) over all tokens of `grid`: (T, T) of one head's (T, d)."""
    down, across = np.divmod(np.arange(len(q)), grid[1])
    logits = q @ k.T / np.sqrt(q.shape[1]) + axis_bias(q, rows, down) + axis_bias(q, columns, across)
    return np.stack([softmax(row) for row in logits])


def top_left(grid: tuple[int, int], valid: tuple[int, int]) -> Array:
    """Indices of the tokens of `grid` that lie in its first `valid` rows and columns."""
    return np.array([row * grid[1] + column for row in range(valid[0]) for column in range(valid[1])])
