"""GEM (Bousselham et al., CVPR 2024, arXiv 2312.00878): grounding everything, a second path of self-self attention.

Over the last blocks (6 in the official `depth=7`), beside the untouched path X, with Y = LN1(X) of the block:

    p <- p/|p|,  p <- softmax(β p pᵀ) p   K times, for each p of {q, k, v};   A_p = softmax(β p̂ p̂ᵀ)
    X_gem <- X_gem + W_o((A_q + A_k + A_v)/3 · v) + b_o,   β = mean_i |Y_i| / √d   (a scalar per window)

The path has no FFN, starts as a copy of X, and F = LN_post(X_gem) proj. Official code: github.com/WalBouss/GEM
(`gem/gem_utils.py`). There K is `ss_attn_iter`, 1 by default; the paper's best K differs by dataset (VOC 3, Context 2).
The six blocks are six of ViT-L/14's 24 too. Its positions are resampled with antialiasing (`positions='gem'`), its one
template is `photo`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import TAILS
from ..settings import Count, Natural, Positive
from ..towers.attention import Attention, softmax
from ..towers.tail import SecondPath
from ..towers.trace import QKV


@TAILS.register_module()
class GEM(SecondPath):
    """The GEM path's patch features.

    Args:
        blocks: how many last blocks it goes along, written for a tower of `tower` blocks.
        iterations: K, the self-self refinements of each projection before its map is taken.
        temperature: β in place of the window's own.
        tower: depth that `blocks` is written for, scaled to another; None takes it as it is.
    """

    def __init__(
        self, blocks: Count = 6, iterations: Natural = 1, temperature: Positive | None = None, tower: Count | None = 12
    ) -> None:
        super().__init__(blocks, tower)
        self.iterations, self.temperature = iterations, temperature

    def attend(self, t: QKV) -> Attention:
        """(A_q + A_k + A_v) / 3"""
        return sum(self.self_self(t, p) for p in (t.q, t.k, t.v)) / 3

    def self_self(self, t: QKV, p: Tensor) -> Attention:
        """softmax(β p̂ p̂ᵀ) after K refinements of the projection p (N, heads, T, d)."""
        root = self.root(t)
        for _ in range(self.iterations):
            p = F.normalize(p, dim=-1)
            p = softmax(root * p, root * p, 1.0) @ p
        p = root * F.normalize(p, dim=-1)
        return softmax(p, p, 1.0)

    def root(self, t: QKV) -> Tensor | float:
        """√β, which goes on both sides of the product: (N, 1, 1, 1)."""
        if self.temperature is not None:
            return self.temperature**0.5
        beta = torch.linalg.vector_norm(t.tokens.float(), dim=-1).mean(1) * t.scale
        return beta.sqrt().to(t.tokens.dtype)[:, None, None, None]
