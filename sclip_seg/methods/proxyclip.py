"""ProxyCLIP (Lan et al., ECCV 2024, arXiv 2408.04883): a second model's similarities are the last block's attention.

With f̂ the unit features of a guide (DINO, DINOv2, SAM, MAE) on its own grid, v the values of CLIP's patches, resampled
bilinearly to it:

    S = f̂ f̂ᵀ;   A = γ (S - β mean S);   P = softmax(A) over its entries that are not negative
    F = LN_post(W_o P v + b_o) proj                 (no residual, no FFN; the class token has no part)

β = 1.2 and γ = 3, the mean per window, P the same for all heads. Official code: github.com/mc-lan/ProxyCLIP
(`open_clip/transformer.py`), for square windows. It has no entry left where mean S exceeds 1/β, and then no number;
here the diagonal always stays, which changes nothing else. There windows are padded with zeros to multiples of 56
(`window.unit=56`); here to the least common multiple of both patch sizes, which both grids divide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import GUIDES, TAILS
from ..settings import Real
from ..towers.attention import AttentionMaps
from ..towers.tail import Tail
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..towers.guide import Guide
    from ..words.text import TextBank


@TAILS.register_module()
class ProxyCLIP(Tail):
    """Features on the guide's grid.

    Args:
        guide: config of a `Guide`.
        beta, gamma: β and γ.
    """

    def __init__(self, guide: dict, beta: Real = 1.2, gamma: Real = 3.0) -> None:
        super().__init__()
        self.guide = GUIDES.build(guide)
        self.unit, self.beta, self.gamma = self.guide.unit, beta, gamma

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        features, values = guided(trace, self.guide).values()
        windows = zip(features.flatten(2).transpose(1, 2), values, strict=True)
        mixed = [proxy_weights(f, self.beta, self.gamma).to(v.dtype) @ v for f, v in windows]
        tokens = trace.joint(trace.blocks[-1].output(torch.stack(mixed)))
        return tokens.transpose(1, 2).unflatten(2, features.shape[2:])

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """P on the guide's grid, the same for all heads."""
        return proxy_maps(self.guide(trace.pixels), self.beta, self.gamma)


def proxy_maps(features: Tensor, beta: float, gamma: float) -> AttentionMaps:
    """P of every window of a guide's features (N, C, h, w), by the window's own mean."""
    weights = [proxy_weights(window, beta, gamma) for window in features.flatten(2).transpose(1, 2)]
    return AttentionMaps(torch.stack(weights)[:, None], tuple(features.shape[2:]), prefix=0)


def guided(trace: Trace, guide: Guide) -> dict[str, Tensor]:
    """What such methods keep of windows: the guide's `features` (N, C', H, W), and the `values` (N, H·W, C) there."""
    features = guide(trace.pixels)
    return {"features": features, "values": values_on(trace, features.shape[2:])}


def unit_tokens(features: Tensor) -> Tensor:
    """Features (B, C, H, W) of windows as unit keys (B·H·W, C), fp32, window by window, row by row."""
    return F.normalize(features.float().flatten(2).transpose(1, 2).flatten(0, 1), dim=1)


def values_on(trace: Trace, grid: tuple[int, int]) -> Tensor:
    """The patches' values in the last block, heads joined, on another grid (H, W): (N, H·W, C)."""
    return resampled_values(trace.qkv(-1), grid)


def resampled_values(t: QKV, grid: tuple[int, int]) -> Tensor:
    """The patches' values of any block, heads joined, bilinearly on another grid (H, W): (N, H·W, C)."""
    values = t.v[:, :, t.prefix :].transpose(1, 2).flatten(2)
    folded = values.transpose(1, 2).unflatten(2, t.grid).float()
    picture = F.interpolate(folded, tuple(grid), mode="bilinear", align_corners=False)
    return picture.flatten(2).transpose(1, 2).to(values.dtype)


def proxy_weights(features: Tensor, beta: float, gamma: float, mean: Tensor | None = None) -> Tensor:
    """P (P, P), fp32, of one window's features (P, C); `mean` of S in place of the window's own."""
    unit = F.normalize(features.float(), dim=-1)
    similar = unit @ unit.T
    scores = gamma * (similar - beta * (similar.mean() if mean is None else mean))
    alone = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return scores.masked_fill_((scores < 0) & ~alone, -torch.inf).softmax(-1)
