"""NACLIP (Hajimiri, Ben Ayed and Dolz, WACV 2025, arXiv 2404.08181): pay attention to your neighbours.

    A = softmax(k kᵀ / √d + G),   G[a, b] = exp(-|p_a - p_b|² / 2σ²) between patches, 0 for the class token

Residual and FFN are dropped ("reduced"); σ = 5 patches. Official code: github.com/sinahmr/NACLIP (`clip/model.py`),
which convolves one-hot maps with a window; the closed form is equal to 6e-8. PAMR is on by default there and in
`configs/naclip.py`. `nonly` (Gaussian alone) follows the current code, a scalar c per window (version 1 used the full
|q||k| matrix); `kk` is the key-key term alone.
"""

import torch
from torch import Tensor

from ..registry import ATTENTION
from ..settings import Positive
from ..towers.attention import Attention, softmax
from ..towers.trace import QKV


@ATTENTION.register_module()
def naclip(t: QKV, sigma: Positive = 5.0) -> Attention:
    """softmax(k kᵀ/√d + G); G is added after the scaling."""
    return softmax(t.k, t.k, t.scale, bias=neighbourhood(t, sigma))


@ATTENTION.register_module()
def nonly(t: QKV, sigma: Positive = 5.0) -> Tensor:
    """softmax(c·G), c = mean over heads and pairs of tokens of |q||k|, over √d; one map for all heads."""
    strength = (t.q.norm(dim=-1).mean(-1) * t.k.norm(dim=-1).mean(-1)).mean(-1) * t.scale
    return (strength[:, None, None, None] * neighbourhood(t, sigma)).softmax(-1).to(t.v.dtype)


def neighbourhood(t: QKV, sigma: float) -> Tensor:
    """G (T, T): a Gaussian of the distance between two patches of the grid, in patches."""
    height, width = t.grid
    rows, columns = (torch.arange(n, device=t.tokens.device, dtype=torch.float32) for n in (height, width))
    near_rows, near_columns = (torch.exp(-((p[:, None] - p) ** 2) / (2 * sigma**2)) for p in (rows, columns))
    gaussian = torch.kron(near_rows, near_columns)
    return torch.nn.functional.pad(gaussian, (t.prefix, 0, t.prefix, 0))
