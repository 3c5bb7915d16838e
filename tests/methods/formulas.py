"""Every method's equation a second time: float64, plain loops over windows, heads and tokens, raw weights.

Nothing of sclip_seg is used here. T tokens, the first of them the class token; C width; d = C / heads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from formulas_pearl import pearl
from formulas_radseg import scra
from numpy import ndarray as Array

EPSILON = 1e-5  # of CLIP's LayerNorm


@dataclass(frozen=True)
class Projected:
    """What an attention formula may use: Y (T, C) after LN1; q, k, v (heads, T, d); the patches' grid; the weights."""

    y: Array
    q: Array
    k: Array
    v: Array
    grid: tuple[int, int]
    w: "LastBlockWeights | None" = None


@dataclass(frozen=True)
class LastBlockWeights:
    """The last block, LN_post and proj of an open_clip tower, as float64 arrays by open_clip's names."""

    block: dict[str, Array]
    post: dict[str, Array]
    proj: Array
    heads: int

    @classmethod
    def of(cls, visual) -> "LastBlockWeights":
        block = visual.transformer.resblocks[-1]
        arrays = [
            {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}
            for module in (block, visual.ln_post)
        ]
        return cls(*arrays, visual.proj.detach().double().numpy(), block.attn.num_heads)


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    out = np.empty_like(x)
    for token, row in enumerate(x):
        centred = row - row.sum() / len(row)
        out[token] = centred / np.sqrt((centred**2).sum() / len(row) + EPSILON) * weight + bias
    return out


def feed_forward(x: Array, w: dict[str, Array]) -> Array:
    """W₂ g(W₁ u + b₁) + b₂ with QuickGELU, g(a) = a·sigmoid(1.702 a)."""
    out = np.empty_like(x)
    for token, row in enumerate(x):
        hidden = w["mlp.c_fc.weight"] @ row + w["mlp.c_fc.bias"]
        out[token] = w["mlp.c_proj.weight"] @ (hidden / (1 + np.exp(-1.702 * hidden))) + w["mlp.c_proj.bias"]
    return out


def split(x: Array, heads: int) -> Array:
    """(T, C) -> (heads, T, d): head h has columns h·d to (h + 1)·d."""
    width = x.shape[1] // heads
    return np.stack([x[:, head * width : (head + 1) * width] for head in range(heads)])


def project(x: Array, w: LastBlockWeights, grid: tuple[int, int]) -> Projected:
    """Y = LN1(X) and its queries, keys and values, biases included."""
    y = layer_norm(x, w.block["ln_1.weight"], w.block["ln_1.bias"])
    width = x.shape[1]
    parts = []
    for part in range(3):  # rows of W_in are q, k, v
        rows = slice(part * width, (part + 1) * width)
        parts.append(split(y @ w.block["attn.in_proj_weight"][rows].T + w.block["attn.in_proj_bias"][rows], w.heads))
    return Projected(y, *parts, grid, w)


def output(per_head: Array, w: LastBlockWeights) -> Array:
    """W_o of the joined heads, plus b_o: (heads, T, d) -> (T, C)."""
    joined = np.concatenate(list(per_head), axis=1)
    return joined @ w.block["attn.out_proj.weight"].T + w.block["attn.out_proj.bias"]


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def correlation(left: Array, right: Array, bias: Array | None = None) -> Array:
    """softmax_b(left_a · right_b / √d + bias_ab), row by row."""
    heads, tokens, width = left.shape
    weights = np.empty((heads, tokens, tokens))
    for head in range(heads):
        for a in range(tokens):
            logits = np.array([left[head, a] @ right[head, b] for b in range(tokens)]) / np.sqrt(width)
            weights[head, a] = softmax(logits if bias is None else logits + bias[a])
    return weights


def gaussian(grid: tuple[int, int], sigma: float) -> Array:
    """NACLIP's G: exp(-((i - m)² + (j - n)²) / 2σ²) between patches (i, j) and (m, n), 0 with the class token."""
    height, width = grid
    bias = np.zeros((height * width + 1, height * width + 1))
    for i in range(height):
        for j in range(width):
            for m in range(height):
                for n in range(width):
                    distance = (i - m) ** 2 + (j - n) ** 2
                    bias[1 + i * width + j, 1 + m * width + n] = np.exp(-distance / (2 * sigma**2))
    return bias


def identity(p: Projected) -> Array:
    weights = np.zeros((len(p.v), len(p.y), len(p.y)))
    for head in range(len(p.v)):
        for token in range(len(p.y)):
            weights[head, token, token] = 1
    return weights


def tokens(p: Projected) -> Array:
    """SCLIP's identity projection: W_r = 1."""
    y = split(p.y, len(p.q))
    return correlation(y, y)


def random_projection(p: Projected, matrices: list[Array], reduce: str = "sum") -> Array:
    """Σᵢ softmax(rᵢ rᵢᵀ/√d) with rᵢ = Y Wᵢ."""
    total = 0
    for matrix in matrices:
        r = split(p.y @ matrix, len(p.q))
        total = total + correlation(r, r)
    return total / len(matrices) if reduce == "mean" else total


def naclip(p: Projected, sigma: float = 5.0) -> Array:
    return correlation(p.k, p.k, gaussian(p.grid, sigma))


def nonly(p: Projected, sigma: float = 5.0) -> Array:
    """softmax(c·G), c the mean over heads and pairs of tokens of |q_a||k_b|, over √d."""
    heads, count, width = p.q.shape
    total = 0.0
    for head in range(heads):
        for a in range(count):
            for b in range(count):
                total += np.linalg.norm(p.q[head, a]) * np.linalg.norm(p.k[head, b])
    strength = total / (heads * count * count) / np.sqrt(width)
    rows = [softmax(strength * row) for row in gaussian(p.grid, sigma)]
    return np.stack([np.stack(rows)] * heads)


def combination(p: Projected, of: tuple = ("qq", "kk", "vv"), reduce: str = "sum") -> Array:
    """Σ or mean of the formulas of that name, or of dict(type=name, options)."""
    total = 0
    for one in of:
        options = dict(one) if isinstance(one, dict) else {"type": one}
        total = total + ATTENTION_FORMULAS[options.pop("type")](p, **options)
    return total / len(of) if reduce == "mean" else total


ATTENTION_FORMULAS: dict[str, Callable[..., Array]] = {
    "qk": lambda p: correlation(p.q, p.k),
    "qq": lambda p: correlation(p.q, p.q),
    "kk": lambda p: correlation(p.k, p.k),
    "vv": lambda p: correlation(p.v, p.v),
    "csa": lambda p: correlation(p.q, p.q) + correlation(p.k, p.k),
    "identity": identity,
    "tokens": tokens,
    "random_projection": random_projection,
    "naclip": naclip,
    "nonly": nonly,
    "combination": combination,
    "pearl": pearl,
    "scra": scra,
}


def last_block(
    windows: Array,
    w: LastBlockWeights,
    grid: tuple[int, int],
    attention: Callable[[Projected], Array],
    residual: bool = True,
    mlp: bool = True,
    attention_scale: float = 1.0,
) -> Array:
    """U = [X +] α(W_o A v + b_o); U = [U +] FFN(LN2 U); LN_post(U) proj. Inputs X (N, T, C) -> (N, D, h, w)."""
    features = np.empty((len(windows), w.proj.shape[1], *grid))
    for window, x in enumerate(windows):
        p = project(x, w, grid)
        weights = attention(p)
        mixed = np.zeros_like(p.v)
        for head in range(w.heads):
            for a in range(len(x)):
                for b in range(len(x)):
                    mixed[head, a] += weights[head, a, b] * p.v[head, b]
        u = attention_scale * output(mixed, w)
        if residual:
            u = x + u
        if mlp:
            u = u + feed_forward(layer_norm(u, w.block["ln_2.weight"], w.block["ln_2.bias"]), w.block)
        joint = layer_norm(u, w.post["weight"], w.post["bias"]) @ w.proj
        for row in range(grid[0]):
            for column in range(grid[1]):
                features[window, :, row, column] = joint[1 + row * grid[1] + column]
    return features


def denoise_prompts(scores: Array, threshold: float) -> Array:
    """MaskCLIP: a query whose softmax(100 s) reaches `threshold` at no patch gets -100. (Q, patches)."""
    queries, patches = scores.shape
    probability = np.stack([softmax(100 * scores[:, n]) for n in range(patches)], axis=1)
    out = scores.copy()
    for query in range(queries):
        if max(probability[query]) < threshold:
            out[query] = -100
    return out


def output_keys(x: Array, w: LastBlockWeights, grid: tuple[int, int]) -> Array:
    """The patches' keys through W_o and b_o, (patches, C), of one window's X (T, C)."""
    return output(project(x, w, grid).k, w)[1:]


def smooth_keys(scores: Array, keys: Array, below: float, rule: str) -> Array:
    """MaskCLIP: p_n <- Σ_m (k̂_n · k̂_m) p_m where max p_n < below. Scores (Q, patches), keys (patches, C).

    'paper' gives each patch's key unit length over the channels, 'released' each channel over the patches.
    """
    patches, width = keys.shape
    unit = keys.copy()
    if rule == "paper":
        for n in range(patches):
            unit[n] /= np.sqrt((keys[n] ** 2).sum())
    else:
        for channel in range(width):
            unit[:, channel] /= np.sqrt((keys[:, channel] ** 2).sum())
    probability = np.stack([softmax(100 * scores[:, n]) for n in range(patches)], axis=1)
    out = probability.copy()
    for n in range(patches):
        if probability[:, n].max() < below:
            out[:, n] = sum((unit[n] @ unit[m]) * probability[:, m] for m in range(patches))
    return out
