"""SCLIP (Wang, Mei and Yuille, ECCV 2024, arXiv 2312.01597): correlative self-attention in the last block.

    A = softmax(q qᵀ / √d) + softmax(k kᵀ / √d)

Residual and FFN are kept. Official code: github.com/wangf3014/SCLIP (`clip/model.py`). The sum is not halved there,
so rows sum to two and the branch enters the residual with twice its trained mass; followed, as the scores need it.

The paper's ablation replaces W_q and W_k by other projections W_r, A = Σ_r softmax(Y W_r W_rᵀ Yᵀ / √d), Y = LN1(X):
`qq`, `kk`, `tokens` (W_r = 1) and `random_projection`. No code was released for them; what the paper leaves open
is an option here: Gaussian entries of variance 1/C, no bias, seed 0, the n maps summed like q and k.
"""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from ..registry import ATTENTION
from ..settings import Count, Seed
from ..towers.attention import Attention, softmax
from ..towers.trace import QKV


@ATTENTION.register_module()
def csa(t: QKV) -> Attention:
    """softmax(q qᵀ/√d) + softmax(k kᵀ/√d); rows sum to two, as published."""
    return softmax(t.q, t.q, t.scale) + softmax(t.k, t.k, t.scale)


@ATTENTION.register_module()
def tokens(t: QKV) -> Attention:
    """softmax(Y Yᵀ/√d): the identity projection, Y sliced into the block's heads."""
    y = t.split(t.tokens)
    return softmax(y, y, t.scale)


@ATTENTION.register_module()
def random_projection(t: QKV, n: Count = 1, seed: Seed = 0, reduce: Literal["sum", "mean"] = "sum") -> Attention:
    """Σᵢ softmax(rᵢ rᵢᵀ/√d), rᵢ = Y Wᵢ, for n random projections; `reduce='mean'` divides by n."""
    maps = []
    for index in range(n):
        r = t.split(t.tokens @ projection(t.tokens.shape[-1], seed, index).to(t.tokens))
        maps.append(softmax(r, r, t.scale))
    return sum(maps) / n if reduce == "mean" else sum(maps)


@lru_cache(maxsize=64)
def projection(width: int, seed: int, index: int) -> Tensor:
    """(C, C) Gaussian matrix of variance 1/C, the same on every machine: number `index` of the stream `seed`."""
    generator = torch.Generator().manual_seed(seed * 1000 + index)
    return torch.randn(width, width, generator=generator) * width**-0.5
