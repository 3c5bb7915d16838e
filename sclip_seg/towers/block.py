"""One residual block of the trunk, by the names that open_clip gives its parts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUICK = 1.702


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """The block's own output for (N, T, C) tokens: X + MHA(LN1 X), then + FFN(LN2 ·); attention in one fused piece."""
    attn = block.attn
    packed = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = packed.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = block.ls_1(attn.out_proj(mixed)).add_(x)  # into the fresh tensor: x itself may be kept for a tail
    return feed_forward(block, x).add_(x)


def feed_forward(block: nn.Module, x: Tensor) -> Tensor:
    """FFN(LN2 X), without its residual: (N, T, C) -> (N, T, C).

    QuickGELU u·sigmoid(1.702 u) is silu(1.702 u) / 1.702, and both factors go into the products beside it, which
    leaves one pass over the hidden layer, in place.
    """
    mlp = block.mlp
    if type(mlp.gelu).__name__ != "QuickGELU":
        return block.ls_2(mlp(block.ln_2(x)))
    tokens = block.ln_2(x).flatten(0, 1)
    hidden = torch.addmm(mlp.c_fc.bias, tokens, mlp.c_fc.weight.T, beta=QUICK, alpha=QUICK)
    out = torch.addmm(mlp.c_proj.bias, F.silu(hidden, inplace=True), mlp.c_proj.weight.T, alpha=1 / QUICK)
    return block.ls_2(out.view_as(x))
