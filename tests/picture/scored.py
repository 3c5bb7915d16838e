"""Score maps of normalised pictures, without their labels."""

from collections.abc import Sequence

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from sclip_seg.picture.scores import StitchedMaps
from sclip_seg.picture.segmentor import OpenVocabSegmentor


@torch.no_grad()
def maps_of(
    model: OpenVocabSegmentor, pictures: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[StitchedMaps]:
    """The maps of normalised pictures (3, h, w) at `sizes` (H, W), all given to the model at once."""
    samples = [SegDataSample(metainfo=dict(ori_shape=size)) for size in sizes]
    return [model.score(picture) for picture in model.look(pictures, samples)]
