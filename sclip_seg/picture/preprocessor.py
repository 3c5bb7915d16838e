"""From decoded pictures of any sizes to the network's input."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.structures import SegDataSample
from torch import Tensor

from ..towers.together import once

LONG_SIDE = 2048


class Preprocessor(BaseDataPreprocessor):
    """Resizes the short side, turns BGR into RGB and normalises; the labels keep their own size.

    As published (mmseg's `Resize(scale=(long, short), keep_ratio=True)`): factor min(long / longer side,
    short / shorter side), sides int(side · factor + 0.5), cv2's bilinear resize of the 8-bit picture, no antialias.
    It happens here and not in the data pipeline, so that one pipeline serves every method, the short side is a
    setting of the model, and a step that wants the picture at full resolution finds it.

    Args:
        mean, std: pixel statistics in [0, 1], RGB, as open_clip lists them for the weights.
        patch: no side is made smaller than this, so that the smallest pictures keep one patch.
        short_side, long_side: in pixels; `short_side` None keeps the picture's size.
    """

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        patch: int,
        short_side: int | None = 336,
        long_side: int = LONG_SIDE,
    ) -> None:
        super().__init__()
        self.patch, self.short_side, self.long_side = patch, short_side, long_side
        self.keep_original = False  # a segmentor sets it that looks at the full size as well
        # Rounded to three decimals of the 8-bit range, as every official config has them.
        self.statistics = *mean, *std
        for name, values in (("mean", mean), ("std", std)):
            pixels = torch.tensor([round(255 * value, 3) for value in values]).view(3, 1, 1)
            self.register_buffer(name, pixels, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """`inputs`: a list of (3, H, W) uint8 BGR -> a list of (3, h, w) fp32 on the model's device.

        With `keep_original`, each sample holds the picture as it came, as `original`.
        """
        pictures, samples = data["inputs"], data.get("data_samples")
        if self.keep_original:
            samples = samples or [SegDataSample() for _ in pictures]
            for sample, picture in zip(samples, pictures, strict=True):
                sample.set_data({"original": picture})
        return {"inputs": [self.prepared(picture) for picture in pictures], "data_samples": self.cast_data(samples)}

    def of_pictures(
        self, pictures: Sequence[np.ndarray], paths: Sequence[str | None] | None = None
    ) -> tuple[list[Tensor], list[SegDataSample]]:
        """Network inputs (3, h, w) of (H, W, 3) uint8 BGR pictures, and samples that say the size of these.

        `paths`: of their files, for what goes by a picture's name.
        """
        samples = [SegDataSample(metainfo=dict(ori_shape=picture.shape[:2])) for picture in pictures]
        for sample, path in zip(samples, paths or (), strict=False):
            sample.set_metainfo({"img_path": path})
        raw = [once("pixels", picture, compute=partial(_pixels, picture)) for picture in pictures]
        data = self({"inputs": raw, "data_samples": samples})
        return data["inputs"], data["data_samples"]

    def prepared(self, picture: Tensor) -> Tensor:
        """(3, H, W) uint8 BGR -> the network's input (3, h, w)."""
        settings = self.patch, self.short_side, self.long_side, *self.statistics, str(self.device)
        return once("network input", *settings, picture, compute=lambda: self.normalised(self.resize(picture)))

    def normalised(self, picture: Tensor) -> Tensor:
        """(3, h, w) uint8 BGR -> RGB on the model's device, by the weights' statistics."""
        return (self.cast_data(picture).flip(0).float() - self.mean) / self.std

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Size (h, w) that a picture of (height, width) is read at."""
        factor = 1.0
        if self.short_side is not None:
            factor = min(self.long_side / max(height, width), self.short_side / min(height, width))
        return tuple(max(int(side * factor + 0.5), self.patch) for side in (height, width))

    def resize(self, picture: Tensor) -> Tensor:
        """(3, H, W) uint8 -> (3, h, w) uint8."""
        size = self.size(*picture.shape[1:])
        if size == tuple(picture.shape[1:]):
            return picture
        pixels = picture.permute(1, 2, 0).cpu()
        # cv2 puts planes together, and takes them apart, some 30 times as fast as numpy moves the axes.
        pixels = pixels.numpy() if pixels.is_contiguous() else cv2.merge([plane.numpy() for plane in picture.cpu()])
        resized = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(np.stack(cv2.split(resized)))


def _pixels(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)
