"""Tails: how the end of the frozen network is read."""

from torch import Tensor, nn

from .block import feed_forward
from .registry import ATTENTION, TAILS
from .trace import Trace


class Tail(nn.Module):
    """Turns a `Trace` into patch features in the joint space. A method that is more than an attention overrides it."""

    reads: tuple[int, ...] = (-2,)
    """Blocks whose output the tail needs (-1 is the last block). The trunk runs no further than the last of them."""

    def forward(self, trace: Trace, text: Tensor) -> Tensor:
        """Features (N, D, h, w) of the windows. `text` (Q, D): unit query features, for a method with feedback."""
        raise NotImplementedError

    def rescore(self, scores: Tensor, trace: Trace) -> Tensor:
        """Patch scores (N, Q, h, w) of the windows, revised. As they are, unless a method says otherwise."""
        return scores


@TAILS.register_module()
class LastBlock(Tail):
    """The last block with another attention A, and with or without its residual and its FFN:

        U = [X +] α·(W_o(A v) + b_o);   U = [U +] FFN(LN2 U);   F = LN_post(U) proj

    Args:
        attention: a name or dict of `ATTENTION`, e.g. `'csa'` or `dict(type='naclip', sigma=5.0)`.
        residual: keep the block's input X in the sum.
        mlp: keep the FFN (with its own residual).
        attention_scale: α, the weight of the attention branch (ClearCLIP's residual-scaling ablation).
    """

    def __init__(
        self, attention: str | dict, residual: bool = True, mlp: bool = True, attention_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.attention = ATTENTION.build(attention)
        self.residual, self.mlp, self.attention_scale = residual, mlp, attention_scale

    def forward(self, trace: Trace, text: Tensor) -> Tensor:
        return trace.patches(self.tokens(trace))

    def tokens(self, trace: Trace) -> Tensor:
        """The block's output (N, T, C), before LN_post."""
        block, qkv = trace.blocks[-1], trace.qkv(-1)
        out = block.ls_1(qkv.output(self.attention(qkv) @ qkv.v)) * self.attention_scale
        if self.residual:
            out = trace.before(-1) + out
        if self.mlp:
            out = out + feed_forward(block, out)
        return out
