"""ITACLIP (Aydın et al., CVPRW 2025, arXiv 2411.12044): image, text and architecture enhancements.

    A_self = softmax(q qᵀ/√d) + softmax(k kᵀ/√d)    (rows sum to two)
    Ā = ½ A_self(last) + ½ mean of A_self over three middle blocks, each from its own input
    F = LN_post(X + W_o Ā v + b_o) proj             (residual kept, FFN dropped)

Image engineering, over five views of every window, f̂ the unit features and t the queries:

    s = γ · mean(f̂_original, f̂_grey, f̂_blurred)·t + (1 - γ) · mean of the two flips' scores, flipped back

Grey and blur (11 pixels, σ = 5) act on the normalised picture. Text: t = (1 - α) t_name + α t_auxiliary, not unit
(`model.auxiliary`). After it PAMR and a closing of the label map. Official code: github.com/m-arda-aydn/ITACLIP
(`clip/model.py`, `itaclip_segmentor.py`), for ViT-B/16 only, whose middle blocks 7, 8 and 10 are hard-coded. Its
auxiliary texts were sampled from LLaMA 3; those shipped here are our own. Where the patch does not divide a window,
the rest that a flipped view does not see lies on the other side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

from ..registry import TAILS
from ..settings import Count, Share
from ..towers.attention import Attention
from ..towers.tail import LastBlock, cosines
from ..towers.trace import QKV, Trace, relative
from .sclip import csa

if TYPE_CHECKING:
    from ..words.text import TextBank

KERNEL, SPREAD = 11, 5.0  # of the blur, in pixels


@TAILS.register_module()
class ITACLIP(LastBlock):
    """The last block with middle blocks' attention, and scores over five views.

    Args:
        blocks: the middle blocks, from 1, written for a tower of `tower` blocks.
        tower: depth that `blocks` is written for, scaled to another; None takes it as it is.
        engineering: γ in [0, 1], the weight of the upright views, or None for the window alone.
    """

    def __init__(
        self, blocks: tuple[Count, ...] = (7, 8, 10), tower: Count | None = 12, engineering: Share | None = 0.75
    ) -> None:
        super().__init__("csa", residual=True, mlp=False)
        self.blocks, self.tower, self.engineering = tuple(blocks), tower, engineering

    def reads(self, depth: int) -> Iterable[int]:
        return [-2, *(block - 1 - depth for block in relative(self.blocks, self.tower, depth))]

    def views(self, image: Tensor) -> Tensor:
        if self.engineering is None:
            return image
        grey = rgb_to_grayscale(image, num_output_channels=3)
        blurred = gaussian_blur(image, [KERNEL, KERNEL], [SPREAD, SPREAD])
        return torch.cat([image, grey, blurred, image.flip(2), image.flip(3)])

    def mix(self, trace: Trace, t: QKV, text: TextBank | None) -> Attention:
        middle = [csa(trace.qkv(block)) for block in relative(self.blocks, self.tower, trace.depth)]
        return (csa(t) + sum(middle) / len(middle)) / 2

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        scores = cosines(self.features(trace, text), text.features)
        if self.engineering is None:
            return scores
        original, grey, blurred, upside_down, mirrored = scores.chunk(5)
        upright = (original + grey + blurred) / 3
        flipped = (upside_down.flip(2) + mirrored.flip(3)) / 2
        return self.engineering * upright + (1 - self.engineering) * flipped
