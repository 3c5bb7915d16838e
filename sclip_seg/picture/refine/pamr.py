"""PAMR, pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, arXiv 2005.08104), as SCLIP and NACLIP use it.

With x the picture, o one of 8 neighbours at each dilation, and replicated borders:

    a_o(u) = mean_ch( -|x(u) - x(u + o)| / (1e-8 + 0.1 σ(u)) ),   σ(u): unbiased std of the 9 positions x dilations
    w(u)   = softmax_o a_o(u);       repeat: m(u) <- Σ_o w_o(u) m(u + o)

The picture is the network's input, already down-sized, brought back up bilinearly; the maps m are the cosines before
scale and softmax. Linear in m, so the queries go in chunks: memory moves no score, and no error is swallowed. Maps in
fp32 take `rounds` on a CPU, and on a GPU `fused` where Triton is there; terms and order are the same.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...registry import STEPS
from ...settings import Count, Range
from .rounds import rounds
from .step import ScoreStep

CHUNK_BYTES = 256 * 2**20
Dilation = Annotated[int, Range(1, 512)]


@STEPS.register_module()
class PAMR(ScoreStep):
    """`steps` rounds of refinement over neighbours at the given dilations, in pixels (NACLIP: 10 rounds, 8 and 16)."""

    def __init__(self, steps: Count = 10, dilations: tuple[Dilation, ...] = (8, 16)) -> None:
        super().__init__()
        if not dilations:
            raise InputError("PAMR needs dilations: at least one")
        self.steps, self.dilations = steps, tuple(dilations)
        self.offsets = [(dy * d, dx * d) for d in self.dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        height, width = scores.shape[1:]
        # Channel by channel: three together round otherwise on one thread than on several, and flat colours show it.
        guide = F.interpolate(image[:, None].float(), (height, width), mode="bilinear", align_corners=False)[:, 0]
        if scores.dtype == torch.float32 and not scores.requires_grad:
            if scores.device.type == "cpu":
                return rounds(scores, self.steps, self.offsets, lambda rows: self.affinity(guide, rows))
            if fused := kernels(scores):
                return fused.rounds(scores, guide, self.steps, self.offsets, centres=len(self.dilations))
        return self.plain(scores, guide)

    def plain(self, scores: Tensor, guide: Tensor) -> Tensor:
        """The rounds as one writes them, on any device; the picture (3, H, W) at the maps' size."""
        weights = self.affinity(guide)
        refined = torch.empty_like(scores)
        step = max(1, CHUNK_BYTES // (3 * 4 * guide[0].numel()))
        for first in range(0, len(scores), step):
            maps = scores[first : first + step]
            for _ in range(self.steps):
                maps = self.average(maps, weights)
            refined[first : first + step] = maps
        return refined

    def affinity(self, guide: Tensor, rows: slice = slice(None)) -> Tensor:
        """Weights (offsets, h, W) of the neighbours of the pixels in some rows, from the picture (3, H, W)."""
        padded, reach = self._pad(guide)
        around = [self._shift(padded, offset, reach, guide)[:, rows] for offset in self.offsets]
        guide = guide[:, rows]
        count = 9 * len(self.dilations)  # the centre stands in once per dilation
        mean = guide * len(self.dilations) / count
        for near in around:
            mean = mean + near / count
        spread = len(self.dilations) * (guide - mean) ** 2
        for near in around:
            spread = spread + (near - mean) ** 2
        scale = 1e-8 + 0.1 * (spread / (count - 1)).sqrt()
        return torch.stack([-((guide - near).abs() / scale).mean(0) for near in around]).softmax(0)

    def average(self, maps: Tensor, weights: Tensor) -> Tensor:
        """One round: each pixel becomes the weighted mean of its neighbours; (Q, H, W) -> (Q, H, W)."""
        padded, reach = self._pad(maps)
        total = torch.zeros_like(maps)
        for offset, weight in zip(self.offsets, weights, strict=True):
            total.addcmul_(self._shift(padded, offset, reach, maps), weight)
        return total

    def _pad(self, maps: Tensor) -> tuple[Tensor, int]:
        reach = max(self.dilations)
        return F.pad(maps[None], (reach,) * 4, mode="replicate")[0], reach

    def _shift(self, padded: Tensor, offset: tuple[int, int], reach: int, like: Tensor) -> Tensor:
        top, left = (reach + o for o in offset)
        return padded[:, top : top + like.shape[1], left : left + like.shape[2]]


def kernels(scores: Tensor) -> ModuleType | None:
    """The module `fused`, for scores on a GPU where Triton is there and can build for it."""
    if not scores.is_cuda or find_spec("triton") is None:
        return None
    fused = import_module(".fused", __package__)
    return fused if fused.usable(scores.device) else None
