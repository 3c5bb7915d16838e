"""MaskCLIP (Zhou, Loy and Dai, ECCV 2022, arXiv 2112.01071): each patch keeps its own value.

    A = 1,   U = X + W_o v + b_o,   U = U + FFN(LN2 U)

Options, both within one window's patch scores (N, Q, h, w), cosines s at first:

    prompt denoising   query c leaves the window if max_n softmax_c(100 s)[n, c] < t
    key smoothing      patches whose max_c p is below t: p_n <- Σ_m k̂_n·k̂_m p_m, with p = softmax_c(100 s)

Official code: github.com/chongzhou96/MaskCLIP (`models/backbones/vit.py`, `decode_heads/maskclip_head.py`). Its
deviations from the paper and from CLIP, and what is done here:

* Key smoothing normalises each key *channel* over the patches (`normalize` on its default axis), the paper each
  patch over its channels. As released by default; `smooth_keys='paper'` takes the paper's.
* The keys pass through W_o, b_o before they are compared. Followed in both cases.
* GELU, LayerNorm eps 1e-6 and ImageNet's pixel statistics on a network trained with QuickGELU, 1e-5 and CLIP's
  statistics. Not followed: the tower here is CLIP as trained.
* 85 templates (`imagenet85`). Followed in `configs/maskclip.py`.

The later papers' reading, "values only", is `LastBlock('identity', residual=False, mlp=False)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import ATTENTION, TAILS
from ..settings import Real, Share
from ..towers.attention import Attention, identity
from ..towers.tail import LastBlock
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..words.text import TextBank

TEMPERATURE = 100.0
REMOVED = -100.0  # the score of a query that prompt denoising took out, as released


@ATTENTION.register_module(name="identity")
def identity_attention(t: QKV) -> Attention:
    """The identity matrix: A v = v."""
    return identity(t.v)


@TAILS.register_module()
class MaskCLIP(LastBlock):
    """The value path, with the paper's two refinements of the patch scores.

    Args:
        residual, mlp: kept in the official code; both False is the reading of later papers.
        denoise_prompts: threshold t in [0, 1] (the authors use 0.5), or None for off.
        smooth_keys: 'released' or 'paper' (which axis the keys are normalised on), or None for off.
        smooth_below: patches whose largest probability is below this are smoothed; 1.0 means all.
    """

    def __init__(
        self,
        residual: bool = True,
        mlp: bool = True,
        denoise_prompts: Share | None = None,
        smooth_keys: Literal["released", "paper"] | None = None,
        smooth_below: Real = 1.0,
    ) -> None:
        super().__init__("identity", residual, mlp)
        self.denoise_prompts, self.smooth_keys, self.smooth_below = denoise_prompts, smooth_keys, smooth_below

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        return self.revise(super().score(trace, text), trace)

    def revise(self, scores: Tensor, trace: Trace) -> Tensor:
        """Cosines (N, Q, h, w) -> the same after the refinements that are on; smoothing leaves probabilities."""
        if self.denoise_prompts is not None:
            scores = denoise_prompts(scores, self.denoise_prompts)
        if self.smooth_keys is not None:
            qkv = trace.qkv(-1)
            keys = qkv.output(qkv.k)[:, trace.prefix :].float()
            scores = smooth_keys(scores, keys, self.smooth_below, axis=1 if self.smooth_keys == "released" else 2)
        return scores


def denoise_prompts(scores: Tensor, threshold: float) -> Tensor:
    """Cosines (N, Q, h, w) -> the same, with queries that are probable nowhere in the window set to -100."""
    best = (TEMPERATURE * scores).softmax(1).amax((2, 3), keepdim=True)
    return torch.where(best < threshold, REMOVED, scores)


def smooth_keys(scores: Tensor, keys: Tensor, below: float, axis: int) -> Tensor:
    """Cosines (N, Q, h, w), keys (N, h·w, C) -> probabilities averaged over patches with similar keys."""
    probability = (TEMPERATURE * scores).softmax(1).flatten(2)
    keys = F.normalize(keys, dim=axis)
    smoothed = (probability @ keys) @ keys.transpose(1, 2)  # the weights are symmetric and not normalised
    unsure = probability.amax(1, keepdim=True) < below
    return torch.where(unsure, smoothed, probability).view_as(scores)
