"""GEM, CLIP Surgery and ITACLIP a second time: float64, from the raw weights of every block.

Nothing of sclip_seg is used here. X (T, C) is the state before the first block, its first token the class token.
Blocks are counted from 1.
"""

from collections.abc import Callable

import numpy as np
from formulas import LastBlockWeights, Projected, correlation, feed_forward, layer_norm, output, project, softmax
from numpy import ndarray as Array

LUMINANCE = (0.2989, 0.587, 0.114)
REACH, SIGMA = 5, 5.0  # of the blur: a kernel of 11 pixels


def tower_weights(visual) -> list[LastBlockWeights]:
    """One entry a block, each with LN_post and proj; LayerScale is folded into the product before it."""
    end = LastBlockWeights.of(visual)
    blocks = []
    for module in visual.transformer.resblocks:
        w = {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}
        for gain, product in (("ls_1.gamma", "attn.out_proj"), ("ls_2.gamma", "mlp.c_proj")):
            if gain in w:
                w[f"{product}.weight"] = w[gain][:, None] * w[f"{product}.weight"]
                w[f"{product}.bias"] = w[gain] * w[f"{product}.bias"]
        blocks.append(LastBlockWeights(w, end.post, end.proj, module.attn.num_heads))
    return blocks


def counted(block: int, depth: int, tower: int | None) -> int:
    """Block `block` of a tower of `tower` blocks, in one of `depth`: to the nearest, halves up, at least 1."""
    return block if tower is None else max(1, int(np.floor(block * depth / tower + 0.5)))


def mix(attention: Array, p: Projected, w: LastBlockWeights) -> Array:
    """W_o(A v) + b_o with A (heads, T, T): (T, C)."""
    mixed = np.stack([attention[head] @ p.v[head] for head in range(len(p.v))])
    return output(mixed, w)


def trained_block(x: Array, w: LastBlockWeights, grid: tuple[int, int]) -> Array:
    """X + MHA(LN1 X), then + FFN(LN2 ·)."""
    p = project(x, w, grid)
    x = x + mix(correlation(p.q, p.k), p, w)
    return x + feed_forward(layer_norm(x, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)


def joint(x: Array, w: LastBlockWeights) -> Array:
    """LN_post, then proj: (T, C) -> (T, D)."""
    return layer_norm(x, w.post["weight"], w.post["bias"]) @ w.proj


def unit(x: Array) -> Array:
    """Every row with length one."""
    return np.stack([row / np.sqrt(row @ row) for row in x])


def grid_of(tokens: Array, grid: tuple[int, int]) -> Array:
    """The patches of (T, D) as a picture (D, h, w)."""
    height, width = grid
    picture = np.empty((tokens.shape[1], height, width))
    for row in range(height):
        for column in range(width):
            picture[:, row, column] = tokens[1 + row * width + column]
    return picture


def dual_path(
    x: Array,
    tower: list[LastBlockWeights],
    grid: tuple[int, int],
    blocks: int,
    attention: Callable[[Projected], Array],
) -> tuple[Array, Array]:
    """The new path S and the original X after the last block, (T, C) each.

    S leaves X before the last `blocks` blocks, and in each of them S = S + W_o(A v) + b_o with A and v of LN1(X).
    """
    new = x.copy()
    for index, w in enumerate(tower):
        if index < len(tower) - blocks:
            x = new = trained_block(x, w, grid)
            continue
        p = project(x, w, grid)
        new = new + mix(attention(p), p, w)
        x = trained_block(x, w, grid)
    return new, x


def gem_temperature(p: Projected) -> float:
    """β = mean_i |Y_i| / √d over all tokens, the class token with them."""
    lengths = [np.sqrt(row @ row) for row in p.y]
    return sum(lengths) / len(lengths) / np.sqrt(p.v.shape[2])


def gem_attention(p: Projected, iterations: int = 1, temperature: float | None = None) -> Array:
    """Mean over v, k and q of softmax(β p̂ p̂ᵀ), after K times p <- softmax(β p̂ p̂ᵀ) p̂, p̂ = p/|p|, head by head."""
    beta = gem_temperature(p) if temperature is None else temperature
    heads, count, _ = p.v.shape
    total = np.zeros((heads, count, count))
    for projected in (p.v, p.k, p.q):
        for head in range(heads):
            x = projected[head]
            for _ in range(iterations):
                x = unit(x)
                x = np.stack([softmax(beta * (x @ row)) for row in x]) @ x
            x = unit(x)
            total[head] += np.stack([softmax(beta * (x @ row)) for row in x]) / 3
    return total


def surgery_attention(p: Projected) -> Array:
    return correlation(p.v, p.v)


def feature_surgery(new: Array, original: Array, text: Array) -> Array:
    """S[i, c] = w_c <I_i, T_c> - mean_c' w_c' <I_i, T_c'>, (T, Q), of the joint features (T, D) of the two paths.

    The class token I_0 is the original path's; w = softmax_c(2 <I_0, T_c>) over its mean.
    """
    tokens = unit(np.concatenate([original[:1], new[1:]]))
    probability = softmax(2 * text @ tokens[0])
    weight = probability / (probability.sum() / len(text))
    scores = np.empty((len(tokens), len(text)))
    for i, token in enumerate(tokens):
        row = np.array([weight[c] * (token @ text[c]) for c in range(len(text))])
        scores[i] = row - row.sum() / len(text)
    return scores


def self_attention(p: Projected) -> Array:
    """A_self: softmax(q qᵀ/√d) + softmax(k kᵀ/√d)."""
    return correlation(p.q, p.q) + correlation(p.k, p.k)


def itaclip(x: Array, tower: list[LastBlockWeights], grid: tuple[int, int], blocks: tuple[int, ...]) -> Array:
    """X + W_o(Ā v) + b_o in the last block, Ā = ½ A_self(last) + ½ mean of A_self over `blocks`: (T, C)."""
    early = 0
    for index, w in enumerate(tower, start=1):
        p = project(x, w, grid)
        if index in blocks:
            early = early + self_attention(p) / len(set(blocks))
        if index < len(tower):
            x = trained_block(x, w, grid)
    return x + mix((self_attention(p) + early) / 2, p, w)


def grey(picture: Array) -> Array:
    """Each channel of (3, H, W) becomes their luminance."""
    value = sum(weight * channel for weight, channel in zip(LUMINANCE, picture, strict=True))
    return np.stack([value] * 3)


def blur(picture: Array) -> Array:
    """A Gaussian of 11 x 11 pixels over (3, H, W), whose border mirrors without repeating the edge."""
    kernel = np.array([np.exp(-(offset**2) / (2 * SIGMA**2)) for offset in range(-REACH, REACH + 1)])
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    height, width = picture.shape[1:]
    rows, columns = (np.abs(np.arange(-REACH, n + REACH)) for n in (height, width))
    rows, columns = np.minimum(rows, 2 * (height - 1) - rows), np.minimum(columns, 2 * (width - 1) - columns)
    mirrored = picture[:, rows][:, :, columns]
    out = np.empty_like(picture)
    for row in range(height):
        for column in range(width):
            out[:, row, column] = (mirrored[:, row : row + 11, column : column + 11] * kernel).sum((1, 2))
    return out


def views(pictures: Array) -> Array:
    """Originals, greys, blurs, upside down, left to right, of all pictures (N, 3, H, W) in turn: (5N, 3, H, W)."""
    kinds = (lambda p: p, grey, blur, lambda p: p[:, ::-1], lambda p: p[:, :, ::-1])
    return np.stack([kind(picture) for kind in kinds for picture in pictures])


def engineered_scores(features: Array, text: Array, gamma: float) -> Array:
    """γ·(mean of the first three unit features)·t + (1 - γ)·(mean of the two flips' maps, flipped back).

    Features (5, D, h, w) of one window's views, text (Q, D) of any length: (Q, h, w).
    """
    features = features / np.sqrt((features**2).sum(1, keepdims=True))
    maps = [np.einsum("qd,dhw->qhw", text, view) for view in features]
    upright = (maps[0] + maps[1] + maps[2]) / 3
    flipped = (maps[3][:, ::-1] + maps[4][:, :, ::-1]) / 2
    return gamma * upright + (1 - gamma) * flipped
