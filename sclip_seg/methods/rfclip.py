"""RF-CLIP (AAAI 2026, arXiv 2511.16170): distracting tokens are calmed in the trunk, and all blocks' keys attend.

X^l: tokens after block l of L and the filter; k^l: keys of block l; C: width. The filter, after every block:

    u = (x - min x)/Σ(x - min x), over the channels of a patch;   flagged: u_c > σ/C in some sink channel c
    flagged x <- 0.6 x + 0.4 (mean of the 3 x 3 patches around, those beyond the border being 0)

    Γ = mean of X^1 .. X^L;   S = cosines of Γ's patches, those below 0.4 set to 0
    for Z = X^{L-1} and Γ, their patches P replaced by S P:   B = mean_l softmax(k^l k^lᵀ/√d), k^L from Z; patches alone
    F = LN_post((y_1 + y_2)/2) proj,   y = W_o B v + b_o          (no residual, no FFN; B's rows sum to less than 1)

σ = 5. Sink channels belong to the weights: those 'published' are of OpenAI's ViT-B/16 and ViT-L/14. Of others they are
'found', which is ours: the eight that stand out most in any block on a picture of noise. The picture's feature is X^L's
class token, which the filter reaches through keys and values.

Official code: github.com/liblacklucy/RF-CLIP (stored files), followed. The paper's refocusing is in it and off, for all
benchmarks, and so it is here. With `refocus` t, in all blocks but the last, a patch whose column sums to more than t of
the tokens keeps 0.6 of every patch's weight, and the row's other patches share the rest in proportion to theirs.
What it does to texts are stages (`picture/stages/texts.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..registry import TAILS
from ..settings import Natural, Positive, Real, Share
from ..towers.attention import AttentionMaps, softmax
from ..towers.block import Block, OwnBlock, run_block
from ..towers.edit import Edit
from ..towers.tail import Tail
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..towers.tower import Tower
    from ..words.text import TextBank

PUBLISHED = {  # by the width of OpenAI's ViT-B/16 and ViT-L/14
    768: (4, 162, 189, 326, 429, 474, 633, 713),
    1024: (250, 261, 437, 650, 720, 779, 936, 1005),
}
SINKS = 8  # channels that are found
KEPT = 0.6  # of a flagged token, and of a sink's weight
SMALL = 1e-8
SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class TokenFilter(Edit):
    """The filter after every block; with `refocus`, the attention of all blocks but the last."""

    channels: tuple[int, ...]
    sigma: float | None
    refocus: float | None

    def __call__(self, block: Block, x: Tensor, grid: tuple[int, int], prefix: int, last: bool) -> Tensor:
        is_plain = last or self.refocus is None
        x = run_block(block, x, grid, prefix) if is_plain else self.refocused(block, x, grid, prefix)
        return self.filtered(x, grid, prefix)

    def filtered(self, x: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        """Tokens (N, T, C), the flagged patches among them calmed."""
        if self.sigma is None:
            return x
        patches = x[:, prefix:]
        around = F.avg_pool2d(patches.transpose(1, 2).unflatten(2, grid), 3, stride=1, padding=1)
        calmed = KEPT * patches + (1 - KEPT) * around.flatten(2).transpose(1, 2)
        return torch.cat([x[:, :prefix], torch.where(self.flagged(patches)[..., None], calmed, patches)], dim=1)

    def flagged(self, patches: Tensor) -> Tensor:
        """Which of the patches (N, P, C) stand out in a sink channel, (N, P)."""
        found = shares(patches)  # by a list of channels it would wait for the device
        sinks = torch.stack(
            [found[..., channel] for channel in self.channels], dim=-1
        )  # a list is copied to the device
        return sinks.amax(-1) > self.sigma / patches.shape[-1]

    def refocused(self, block: Block, x: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        """A block whose patches turn from the sinks among them."""
        t = QKV(block, block.normed(x), grid, prefix)
        weights = refocused(softmax(t.q, t.k, t.scale).weights(), self.refocus, prefix)
        x = x + t.output(weights.to(t.v.dtype) @ t.v)
        return x + block.feed_forward(x)


@TAILS.register_module()
class RFCLIP(Tail):
    """Patch features of the two calmed inputs.

    Args:
        channels: sink channels: their numbers, 'published', or 'found', as they are too where none are published.
        sigma: σ; None filters nothing.
        similarity: cosines below it have no part in S.
        refocus: t, or None, as released.
    """

    def __init__(
        self,
        channels: Literal["published", "found"] | list[Natural] | tuple[Natural, ...] = "published",
        sigma: Positive | None = 5.0,
        similarity: Real = 0.4,
        refocus: Share | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.sigma, self.similarity, self.refocus = channels, sigma, similarity, refocus

    def edit(self, tower: Tower) -> Edit:
        found, width = self.channels, tower.width
        if isinstance(found, str):
            is_clips = found == "published" and isinstance(tower.blocks[0], OwnBlock)
            found = (PUBLISHED.get(width) if is_clips else None) or sinks(tower)
        if not found or max(found) >= width:
            raise InputError(f"RFCLIP.channels are {self.channels}; the tower has channels 0 to {width - 1}")
        return TokenFilter(tuple(found), self.sigma, self.refocus)

    def reads(self, depth: int) -> Iterable[int]:
        return range(-depth - 1, 0)

    def summary(self, trace: Trace) -> Tensor:
        return trace.class_features(trace.hidden(-1))

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        out = [t.output(maps.to(t.v.dtype) @ t.v[:, :, t.prefix :]) for t, maps in self.readings(trace)]
        return trace.fold(trace.joint((out[0] + out[1]) / 2))

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """The mean of both B, of the patches. Their rows sum to less than 1, by what the class token has."""
        return AttentionMaps(sum(maps for _, maps in self.readings(trace)) / 2, trace.grid, prefix=0)

    def readings(self, trace: Trace) -> Iterator[tuple[QKV, Tensor]]:
        """Both inputs as the last block sees them, and B (N, heads, P, P), fp32."""
        earlier = sum(alike(trace.qkv(block)) for block in range(trace.depth - 1))
        guide = sum(trace.hidden(block) for block in range(trace.depth)) / trace.depth
        similar = self.similar(guide[:, trace.prefix :]).to(guide.dtype)
        prefix = trace.prefix
        for tokens in (trace.before(-1), guide):
            t = trace.looked(-1, torch.cat([tokens[:, :prefix], similar @ tokens[:, prefix:]], dim=1))
            yield t, (earlier + alike(t)) / trace.depth

    def similar(self, patches: Tensor) -> Tensor:
        """S (N, P, P), fp32, of the patches (N, P, C) of Γ."""
        unit = F.normalize(patches.float(), dim=-1)
        cosines = unit @ unit.mT
        return cosines * (cosines >= self.similarity)


def shares(x: Tensor) -> Tensor:
    """u (..., C), fp32, of tokens (..., C)."""
    above = x.float() - x.float().amin(-1, keepdim=True)
    return above / above.sum(-1, keepdim=True).clamp(min=SMALLEST)


def alike(t: QKV) -> Tensor:
    """softmax(k kᵀ/√d) over all tokens, cut to the patches: (N, heads, P, P), fp32."""
    return softmax(t.k, t.k, t.scale).weights()[:, :, t.prefix :, t.prefix :]


def refocused(weights: Tensor, threshold: float, prefix: int = 1) -> Tensor:
    """Weights (N, heads, T, T) after refocusing; the class token's row and column stay as they are."""
    patches = weights[:, :, prefix:, prefix:]
    sink = (patches.sum(2, keepdim=True) / weights.shape[-1] > threshold).to(weights)
    taken = ((1 - KEPT) * patches * sink).sum(3, keepdim=True)
    others = patches * (1 - sink)
    given = taken * others / (others.sum(3, keepdim=True) + SMALL)
    weights = weights.clone()
    weights[:, :, prefix:, prefix:] = patches * (1 - (1 - KEPT) * sink) + given
    return weights


@torch.no_grad()
def sinks(tower: Tower) -> tuple[int, ...]:
    """The channels in which patches stand out most, after any block, on a picture of noise at the tower's own size."""
    side = [count * tower.patch for count in tower.native]
    noise = torch.randn(1, 3, *side, generator=torch.Generator().manual_seed(0)).to(tower.device)
    x, grid = tower.embed(noise, tower.rules[0])
    most = torch.zeros(x.shape[-1], device=x.device)
    for block in tower.blocks:
        x = run_block(block, x, grid, tower.prefix)
        most = torch.maximum(most, shares(x[0, tower.prefix :]).amax(0))
    return tuple(sorted(most.topk(min(SINKS, len(most))).indices.tolist()))
