"""Tails: how the end of the frozen network is read.

A method answers two questions. What does one window give? (`forward`, `score`, `gather`) And what does the picture
make of all its windows? (`read`)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..registry import ATTENTION, TAILS
from ..settings import Real
from .attention import Attention, AttentionMaps, softmax
from .block import run_block
from .edit import Edit
from .trace import QKV, Trace, position, relative

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..regions.provider import RegionProvider
    from ..words.text import TextBank
    from .encoder import DenseCLIP
    from .tower import Tower

Gathered = Tensor | dict[str, "Gathered"]
"""What is kept of windows: a tensor, or several by name; the first axis is that of the windows."""


class Tail(nn.Module):
    """Turns a `Trace` into patch features in the joint space, and those into scores.

    A method that is more than an attention overrides one of its steps; `forward` is the usual one. One that looks
    beyond the window keeps in `gather` what it needs of each, and says in `read` what the picture makes of them.
    """

    unit: int = 1
    """What the sides of windows must be multiples of, in pixels, beside the patch: that of a guide."""
    needs_original: bool = False
    """Whether `read` looks at the picture at its full size."""
    needs_whole: bool = False
    """Whether `read` looks at the whole picture as one window, beside its windows."""
    beside: tuple[str, ...] = ()
    """Texts of no class that `TextBank.beside` shall hold."""
    needs_class_token: bool | tuple[str, ...] = False
    """Whether it reads the tower's class token; or the names of settings, any of which makes it do so."""
    looks_across: bool = False
    """Whether patches look at all windows of a picture in the last block, as `attention_across` then shows."""

    @property
    def second_tower(self) -> DenseCLIP | None:
        """Another CLIP, whose texts for the same words `TextBank.second` shall hold."""

    @property
    def provider(self) -> RegionProvider | None:
        """Who finds the regions that the tail looks at."""

    def check_window(self, window: dict, patch: int) -> None:
        """Raises InputError for windows (`WindowSettings`, patches of `patch` pixels) that the tail cannot read."""

    def fitted(self, image: Tensor, window: dict, patch: int) -> Tensor:
        """The network's input (3, h, w) as such windows are cut from it."""
        return image

    def reads(self, depth: int) -> Iterable[int]:
        """Blocks of a tower of `depth` whose output the tail needs (-1 is the last block, -2 the last one's input).

        The trunk runs no further than the last of them.
        """
        return (-2,)

    def edit(self, tower: Tower) -> Edit | None:
        """What the method changes in the trunk itself, given the tower: nearly all nothing, None."""
        return None

    def views(self, image: Tensor) -> Tensor:
        """What the trunk shall see of windows (N, 3, H, W): themselves, and after them other views (V·N, 3, H, W)."""
        return image

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, h, w) of the windows. `text`: the queries, for a method with feedback."""
        raise NotImplementedError

    def features(self, trace: Trace, text: TextBank | None) -> Tensor:
        """What `forward` gives of a trace, computed once."""
        return trace.once((self, "features", id(text)), lambda: self(trace, text))

    def summary(self, trace: Trace) -> Tensor:
        """A unit feature of each window as a whole, (N, D), fp32, as CLIP was trained: the class token's, or pooled."""
        return trace.class_features(run_block(trace.blocks[-1], trace.before(-1), trace.grid, trace.prefix))

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        """Scores (N, Q, h, w) of the windows' patches, fp32: their cosines with the queries.

        A method may return a finer grid of cells than its patches, as long as it lies over the same window.
        """
        return cosines(self.features(trace, text), text.features)

    def gather(self, trace: Trace, text: TextBank) -> Gathered:
        """What is kept of the windows until all of their picture are there: their scores, if `read` needs no more."""
        return self.score(trace, text)

    def read(self, picture: Picture) -> Scores:
        """The picture's scores, from what was gathered of its windows: their own, window by window."""
        return picture.scored(picture.gathered)

    def attention_maps(self, trace: Trace, text: TextBank | None, block: int = -1) -> AttentionMaps:
        """What the tokens look at in a block: in the last one as the method reads it, before it as CLIP was trained."""
        if position(block, trace.depth) == trace.depth - 1:
            return self.last_attention(trace, text)
        t = trace.qkv(block)
        return maps_of(t, softmax(t.q, t.k, t.scale))

    def attention_across(self, picture: Picture, y: float, x: float) -> Tensor:
        """What a point looks at in all windows of its picture in the last block: weights (N, heads, h, w), fp32.

        The point is in pixels of `picture.fitted`; the weights are those that the values of the windows' cells are
        mixed with into its scores.
        """
        raise NotImplementedError

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """The attention that `forward` mixes the last block's values with. Raises InputError where a tail has none."""
        raise InputError(f"the tail {type(self).__name__} does not show its attention (it has no last_attention)")


def maps_of(t: QKV, attention: Attention | Tensor) -> AttentionMaps:
    """The weights (N, heads, T, T) that the values of `t` are mixed with, to be looked at."""
    weights = attention.weights() if isinstance(attention, Attention) else attention.float()
    return AttentionMaps(weights, t.grid, t.prefix)


def cosines(features: Tensor, queries: Tensor) -> Tensor:
    """Features (N, D, h, w) of any length and queries (Q, D) -> (N, Q, h, w), fp32."""
    return torch.einsum("ndhw,qd->nqhw", F.normalize(features.float(), dim=1), queries)


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
        self, attention: str | dict, residual: bool = True, mlp: bool = True, attention_scale: Real = 1.0
    ) -> None:
        super().__init__()
        self.attention = ATTENTION.build(attention)
        self.residual, self.mlp, self.attention_scale = residual, mlp, attention_scale

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        return trace.patches(self.tokens(trace, text))

    def tokens(self, trace: Trace, text: TextBank | None = None) -> Tensor:
        """The block's output (N, T, C), before LN_post."""
        t = trace.qkv(-1)
        return self.close(trace, t, self.mix(trace, t, text))

    def mix(self, trace: Trace, t: QKV, text: TextBank | None) -> Attention | Tensor:
        """A, from the block's own projections; a tail that looks at more of the trace overrides it."""
        return self.attention(t)

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        t = trace.qkv(-1)
        return maps_of(t, self.mix(trace, t, text))

    def close(self, trace: Trace, t: QKV, attention: Attention | Tensor) -> Tensor:
        """The block's output (N, T, C) with that attention."""
        out = t.output(attention @ t.v) * self.attention_scale
        if self.residual:
            out = trace.before(-1) + out
        if self.mlp:
            out = out + t.block.feed_forward(out)
        return out


class SecondPath(Tail):
    """A path S beside the last blocks, fed by the untouched one: S <- S + W_o(A v) + b_o, without FFN.

    It starts as a copy of what enters the first of these blocks, and F = LN_post(S) proj.

    Args:
        blocks: how many last blocks it goes along, written for a tower of `tower` blocks.
        tower: depth that `blocks` is written for, scaled to another; None takes it as it is.
    """

    def __init__(self, blocks: int, tower: int | None) -> None:
        super().__init__()
        self.blocks, self.tower = blocks, tower

    def attend(self, t: QKV) -> Attention:
        """The attention A of one block's step."""
        raise NotImplementedError

    def path(self, depth: int) -> range:
        """The blocks beside which the path runs."""
        return range(depth - 1 - relative([self.blocks], self.tower, depth)[0], depth)

    def reads(self, depth: int) -> Iterable[int]:
        return [block - 1 - depth for block in self.path(depth)]

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        path = self.path(trace.depth)
        tokens = trace.before(path[0])
        for block in path:
            t = trace.qkv(block)
            tokens = tokens + t.output(self.attend(t) @ t.v)
        return trace.patches(tokens)

    def attention_maps(self, trace: Trace, text: TextBank | None, block: int = -1) -> AttentionMaps:
        """What the tokens look at in a block: along the second path as it is read, before it as CLIP was trained."""
        if position(block, trace.depth) not in self.path(trace.depth):
            return super().attention_maps(trace, text, block)
        t = trace.qkv(block)
        return maps_of(t, self.attend(t))
