"""Pictures as the network gets them; what cannot be read is named."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

from .errors import InputError
from .files import reason_of
from .settings import Pixels


@TRANSFORMS.register_module(name=["LoadPicture", "LoadImageFromFile"])  # mmseg has none of its own; mmcv's stays
class LoadPicture(LoadImageFromFile):
    """A picture as (H, W, 3) uint8 BGR through cv2: grey, RGBA and 16-bit ones too, turned as EXIF says."""

    def transform(self, results: dict) -> dict:
        path = results["img_path"]
        try:
            return super().transform(results)
        except Exception as error:  # the decoders raise what they like
            raise InputError(f"the picture {path} cannot be read: {reason_of(error, path)}") from error


@TRANSFORMS.register_module()
class CentreCrop(BaseTransform):
    """CLIPtrase's protocol (arXiv 2407.08268): the short side at `size` pixels, then the square in the middle.

    The picture through pillow's antialiased bicubic filter, the labels by nearest neighbours; the square is what is
    segmented and scored, so that its numbers stand beside no other protocol's.
    """

    def __init__(self, size: Pixels) -> None:
        self.size = size

    def transform(self, results: dict) -> dict:
        results["img"] = self.crop(results["img"], InterpolationMode.BICUBIC)
        if "gt_seg_map" in results:
            results["gt_seg_map"] = self.crop(results["gt_seg_map"], InterpolationMode.NEAREST)
        results["ori_shape"] = results["img_shape"] = (self.size, self.size)
        return results

    def crop(self, pixels: np.ndarray, mode: InterpolationMode) -> np.ndarray:
        """(H, W[, 3]) uint8 -> (size, size[, 3])."""
        return np.array(center_crop(resize(Image.fromarray(pixels), self.size, mode), [self.size, self.size]))


def read_picture(picture: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """A file's path, a PIL picture or an array as (H, W, 3) uint8 BGR, what `LoadPicture` gives for the file.

    Arrays are RGB, (H, W, 3), or grey, (H, W), of type uint8; a fourth channel (alpha) is left out.
    Raises InputError for a file that cannot be read and an array that is no such picture.
    """
    if isinstance(picture, str | Path):
        return LoadPicture().transform({"img_path": str(picture)})["img"]
    if isinstance(picture, Image.Image):
        picture = _eight_bit(ImageOps.exif_transpose(picture))
    if not isinstance(picture, np.ndarray):
        raise InputError(f"a picture is a path, a PIL picture or an array, not {type(picture).__name__}")
    shape = f"an array {picture.shape} of {picture.dtype}"
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
        raise InputError(f"{shape} is no picture: (H, W, 3) RGB or (H, W) of uint8, from 0 to 255, is")
    if picture.ndim == 2:
        picture = picture[..., None].repeat(3, axis=2)
    if picture.shape[2] not in (3, 4):
        raise InputError(f"{shape} is no picture: it has {picture.shape[2]} channels, and the last axis must hold RGB")
    return np.ascontiguousarray(picture[..., 2::-1])


def _eight_bit(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB; 16-bit greys, which pillow would clip, are divided by 256, as cv2 divides them."""
    if picture.mode.startswith("I"):
        return (np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)
    return np.array(picture.convert("RGB"))
