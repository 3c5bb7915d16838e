"""One residual block of a trunk, seen through its attention. Kinds differ in names, norms and rotary positions.

A kind is a subclass of `Block`; here are what they share, and open_clip's own. timm's are in `timm_blocks`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUICK = 1.702


class Block:
    """A frozen block: X + LS1 MHA(LN1 X), then + LS2 FFN(LN2 ·), with LS 1 where there is no LayerScale.

    Tokens are (N, T, C); the first `prefix` of them are no patches, and the others lie on a `grid` (h, w).
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.module.attn.num_heads

    @property
    def dtype(self) -> torch.dtype:
        """Type that the block computes in."""
        raise NotImplementedError

    def normed(self, x: Tensor) -> Tensor:
        """Y, what the block's projections read: LN1 X, or X itself where the norm comes after the attention."""
        raise NotImplementedError

    def project(self, part: int, tokens: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        """Queries, keys or values (`part` 0, 1, 2) of Y as the attention compares them, (N, heads, T, d)."""
        raise NotImplementedError

    def out_projection(self, joined: Tensor) -> Tensor:
        """W_o and b_o of mixed values, heads joined, (N, T, C)."""
        raise NotImplementedError

    def output(self, joined: Tensor) -> Tensor:
        """What mixed values, heads joined, add to the tokens: W_o, b_o, and what the block scales or norms it by."""
        raise NotImplementedError

    def feed_forward(self, x: Tensor) -> Tensor:
        """LS2 FFN(LN2 X), without its residual."""
        raise NotImplementedError

    def run(self, x: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        """The block's own output."""
        tokens = self.normed(x)
        q, k, v = (self.project(part, tokens, grid, prefix) for part in range(3))
        x = x + self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.feed_forward(x)

    def split(self, projected: Tensor) -> Tensor:
        """(N, T, C) -> (N, heads, T, d)."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def run_block(block: Block, x: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """`block.run`, as one function that can be compiled."""
    return block.run(x, grid, prefix)


class OwnBlock(Block):
    """open_clip's `ResidualAttentionBlock`, which is OpenAI's too."""

    @property
    def dtype(self) -> torch.dtype:
        return self.module.attn.in_proj_weight.dtype

    def normed(self, x: Tensor) -> Tensor:
        return self.module.ln_1(x)

    def project(self, part: int, tokens: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        attn, width = self.module.attn, tokens.shape[-1]
        rows = slice(part * width, (part + 1) * width)
        return self.split(F.linear(tokens, attn.in_proj_weight[rows], attn.in_proj_bias[rows]))

    def out_projection(self, joined: Tensor) -> Tensor:
        return self.module.attn.out_proj(joined)

    def output(self, joined: Tensor) -> Tensor:
        return self.module.ls_1(self.out_projection(joined))

    def run(self, x: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        attn = self.module.attn
        packed = F.linear(self.module.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = packed.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.output(mixed).add_(x)  # into the fresh tensor: x itself may be kept for a tail
        return self.feed_forward(x).add_(x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """QuickGELU u·sigmoid(1.702 u) is silu(1.702 u) / 1.702, and both factors go into the products beside it.

        That leaves one pass over the hidden layer, in place.
        """
        block, mlp = self.module, self.module.mlp
        if type(mlp.gelu).__name__ != "QuickGELU":
            return block.ls_2(mlp(block.ln_2(x)))
        tokens = block.ln_2(x).flatten(0, 1)
        hidden = torch.addmm(mlp.c_fc.bias, tokens, mlp.c_fc.weight.T, beta=QUICK, alpha=QUICK)
        out = torch.addmm(mlp.c_proj.bias, F.silu(hidden, inplace=True), mlp.c_proj.weight.T, alpha=1 / QUICK)
        return block.ls_2(out.view_as(x))
