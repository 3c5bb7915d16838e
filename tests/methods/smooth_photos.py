"""Photos for segmentors, smooth with a little noise, and their way through the trunk."""

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from sclip_seg.picture.picture import Picture
from sclip_seg.picture.segmentor import OpenVocabSegmentor


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8 BGR."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 2 + height // 16, 2 + width // 16, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    return (128 + 60 * smooth + 20 * torch.randn(3, height, width, generator=generator)).clamp(0, 255).byte()


def looked(model: OpenVocabSegmentor, pictures: list[Tensor]) -> list[Picture]:
    """Pictures as `photo` makes them, at their own size, after the trunk."""
    samples = [SegDataSample(metainfo=dict(ori_shape=tuple(picture.shape[1:]))) for picture in pictures]
    data = model.data_preprocessor(dict(inputs=pictures, data_samples=samples))
    return list(model.look(data["inputs"], data["data_samples"]))
