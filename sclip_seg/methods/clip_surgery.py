"""CLIP Surgery (Li et al., arXiv 2304.05653): a second path of v-v attention, without FFN, beside the untouched one.

Over the last six blocks, v from Y = LN1(X) of the untouched path X:

    S <- S + W_o(softmax(v vᵀ/√d) v) + b_o;    F = LN_post(S) proj;    the class token stays that of X

Feature surgery, per window, for unit features f_i, the class token's f_0 and queries t_c:

    π = softmax_c(2 f_0·t_c),   w = π / mean_c π,   s[i, c] = w_c f_i·t_c - mean_c'(w_c' f_i·t_c')

which is the official four-dimensional product in closed form. The mean moves no argmax, the weights do. With redundant
features r of its own (the embedding of ""), s[i, c] = f_i·(t_c - r) moves neither argmax nor softmax. Official code:
github.com/xmed-lab/CLIP_Surgery (`clip/clip_surgery_model.py`, `clip/clip.py`); it resamples positions bilinearly
(`positions='surgery'`), uses 85 templates, and its authors segment without feature surgery, which is off here. No
evaluation code was released. The six blocks are six of ViT-L/14's 24 too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from ..registry import TAILS
from ..settings import Count
from ..towers.attention import Attention
from ..towers.tail import SecondPath
from ..towers.trace import QKV, Trace
from .clearclip import vv

if TYPE_CHECKING:
    from ..words.text import TextBank

TEMPERATURE = 2.0


@TAILS.register_module()
class CLIPSurgery(SecondPath):
    """The new path's patch features.

    Args:
        blocks: how many last blocks it goes along, written for a tower of `tower` blocks.
        tower: depth that `blocks` is written for, scaled to another; None takes it as it is.
        feature_surgery: weigh the queries by the window's class token and take their common part away.
    """

    def __init__(self, blocks: Count = 6, tower: Count | None = 12, feature_surgery: bool = False) -> None:
        super().__init__(blocks, tower)
        self.feature_surgery = feature_surgery

    def attend(self, t: QKV) -> Attention:
        return vv(t)

    def reads(self, depth: int) -> Iterable[int]:
        return [*super().reads(depth), -1] if self.feature_surgery else super().reads(depth)

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        scores = super().score(trace, text)
        if not self.feature_surgery:
            return scores
        return surgery(scores, trace.class_features(trace.hidden(-1)) @ text.features.T)


def surgery(scores: Tensor, window: Tensor) -> Tensor:
    """Cosines of the patches (N, Q, h, w) and of the class tokens (N, Q) -> scores after feature surgery."""
    share = (TEMPERATURE * window).softmax(1)
    weighted = (share / share.mean(1, keepdim=True))[:, :, None, None] * scores
    return weighted - weighted.mean(1, keepdim=True)
