"""A last block of timm's, from its raw weights: float64, one token after the other; nothing of sclip_seg or timm runs.

T tokens, the first `prefix` of which are no patches; d the width of a head.
"""

from dataclasses import dataclass

import numpy as np
from formulas import Projected, correlation, split
from numpy import ndarray as Array
from scipy.special import erf


@dataclass(frozen=True)
class Weights:
    """The last block (`block`) and what follows (`end`), by timm's names; `eps` of norms; how the block is built."""

    block: dict[str, Array]
    end: dict[str, Array]
    heads: int
    eps: float
    post_norm: bool = False
    rotary: dict | None = None


def norm(x: Array, w: dict[str, Array], name: str, eps: float) -> Array:
    """LayerNorm by the weights of that name; nothing where there are none."""
    if f"{name}.weight" not in w:
        return x
    out = np.empty_like(x)
    for token, row in enumerate(x):
        centred = row - row.mean()
        out[token] = centred / np.sqrt((centred**2).mean() + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]
    return out


def linear(x: Array, w: dict[str, Array], name: str) -> Array:
    """W x + b, where there is one."""
    out = x @ w[f"{name}.weight"].T
    return out + w[f"{name}.bias"] if f"{name}.bias" in w else out


def project(x: Array, w: Weights, grid: tuple[int, int], prefix: int) -> Projected:
    """Y, and its queries, keys and values as the block compares them."""
    b = w.block
    y = x if w.post_norm else norm(x, b, "norm1", w.eps)
    width, parts = x.shape[1], []
    for part, letter in enumerate("qkv"):
        if "attn.qkv.weight" in b:
            rows = slice(part * width, (part + 1) * width)
            p = y @ b["attn.qkv.weight"][rows].T
            p = p + b["attn.qkv.bias"][rows] if "attn.qkv.bias" in b else p
            p = p + b.get(f"attn.{letter}_bias", 0)
        else:
            p = linear(y, b, f"attn.{letter}_proj")
        p = split(p, w.heads)
        if letter != "v":
            p = np.stack([norm(head, b, f"attn.{letter}_norm", w.eps) for head in p])
            p = turned(p, grid, prefix, **w.rotary) if w.rotary else p
        parts.append(p)
    return Projected(y, *parts, grid)


def turned(p: Array, grid: tuple[int, int], prefix: int, ref: tuple[int, int] | None, offset: float, xy: bool) -> Array:
    """Each pair of entries of each patch turned by its angle: half of them by one coordinate, half by the other."""
    heads, _, width = p.shape
    bands = [10000.0 ** (-4 * i / width) for i in range(width // 4)]
    out = p.copy()
    for i in range(grid[0]):
        for j in range(grid[1]):
            places = [(i + offset), (j + offset)]
            if ref is not None:
                places = [place / side * own for place, side, own in zip(places, grid, ref, strict=True)]
            angles = [place * band for place in (places[::-1] if xy else places) for band in bands]
            token = prefix + i * grid[1] + j
            for head in range(heads):
                for pair, angle in enumerate(angles):
                    a, b = p[head, token, 2 * pair], p[head, token, 2 * pair + 1]
                    out[head, token, 2 * pair] = a * np.cos(angle) - b * np.sin(angle)
                    out[head, token, 2 * pair + 1] = b * np.cos(angle) + a * np.sin(angle)
    return out


def gelu(x: Array) -> Array:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def mlp(x: Array, w: dict[str, Array], eps: float, act=gelu, at: str = "mlp") -> Array:
    """W₂ g(W₁ x), or SwiGLU W₂ LN(silu(W_g x) · W_x x)."""
    if f"{at}.fc1_g.weight" in w:
        gate = linear(x, w, f"{at}.fc1_g")
        hidden = gate / (1 + np.exp(-gate)) * linear(x, w, f"{at}.fc1_x")
    else:
        hidden = act(linear(x, w, f"{at}.fc1"))
    return linear(norm(hidden, w, f"{at}.norm", eps), w, f"{at}.fc2")


def last_block(x: Array, w: Weights, grid, prefix: int, attention, residual: bool, ffn: bool, act=gelu) -> Array:
    """The block's output (T, C) with another attention, a function of `Projected`."""
    p, b = project(x, w, grid, prefix), w.block
    mixed = np.concatenate([a @ v for a, v in zip(attention(p, prefix), p.v, strict=True)], axis=1)
    out = linear(norm(mixed, b, "attn.norm", w.eps), b, "attn.proj")
    out = norm(out, b, "norm1", w.eps) if w.post_norm else out * b.get("gamma_1", b.get("ls1.gamma", 1))
    out = x + out if residual else out
    if not ffn:
        return out
    if w.post_norm:
        return out + norm(mlp(out, b, w.eps), b, "norm2", w.eps)
    return out + mlp(norm(out, b, "norm2", w.eps), b, w.eps, act) * b.get("gamma_2", b.get("ls2.gamma", 1))


def joint(tokens: Array, w: Weights, reading: str = "values", pool_eps: float = 1e-6) -> Array:
    """The last norm, the pooling's value path, the head."""
    e = w.end
    x = norm(tokens, e, "trunk.norm", w.eps)
    if "trunk.attn_pool.kv.weight" in e and reading != "none":
        width = x.shape[1]
        v = x @ e["trunk.attn_pool.kv.weight"][width:].T + e["trunk.attn_pool.kv.bias"][width:]
        x = linear(v, e, "trunk.attn_pool.proj")
        if reading == "values":
            x = x + mlp(norm(x, e, "trunk.attn_pool.norm", pool_eps), e, pool_eps, gelu, "trunk.attn_pool.mlp")
    x = norm(x, e, "trunk.fc_norm", w.eps)
    x = linear(x, e, "trunk.head") if "trunk.head.weight" in e else x
    return linear(x, e, "head.proj") if "head.proj.weight" in e else x


def near(p: Projected, prefix: int, sigma: float) -> Array:
    """softmax(k kᵀ/√d + G), G 0 with what is no patch."""
    height, width = p.grid
    bias = np.zeros((p.k.shape[1],) * 2)
    places = [(i, j) for i in range(height) for j in range(width)]
    for a, (i, j) in enumerate(places):
        for b, (m, n) in enumerate(places):
            bias[prefix + a, prefix + b] = np.exp(-((i - m) ** 2 + (j - n) ** 2) / (2 * sigma**2))
    return correlation(p.k, p.k, bias)
