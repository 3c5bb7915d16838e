"""Loading steps of the data pipeline that name the file when it cannot be read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

from .errors import InputError

IGNORE = 255


@TRANSFORMS.register_module(name=["LoadPicture", "LoadImageFromFile"])  # mmseg has none of its own; mmcv's stays
class LoadPicture(LoadImageFromFile):
    """A picture as (H, W, 3) uint8 BGR through cv2: grey, RGBA and 16-bit ones too, turned as EXIF says."""

    def transform(self, results: dict) -> dict:
        path = results["img_path"]
        try:
            return super().transform(results)
        except Exception as error:  # the decoders raise what they like
            raise InputError(f"the picture {path} cannot be read: {_reason(error, path)}") from error


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """A label map as (H, W) uint8 through pillow, which does not turn it as EXIF says.

    The dataset says by `reduce_zero_label` whether 0 is ignored and c stands for class c - 1. mmseg's own step casts
    to 8 bits unseen, so that a label 300 becomes 44; here it is an error. Pictures of mmseg's inferencer have none.
    """

    def transform(self, results: dict) -> dict:
        if "seg_map_path" not in results:
            return results
        path = results["seg_map_path"]
        labels = self.read(path)
        if results.get("label_map"):
            labels = np.vectorize(lambda c: results["label_map"].get(c, c), otypes=[np.uint8])(labels)
        if results["reduce_zero_label"]:
            labels = without_zero(labels)
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results

    @staticmethod
    def read(path: str) -> np.ndarray:
        """The stored values (H, W) uint8."""
        try:
            with Image.open(path) as file:
                labels = np.asarray(file)
        except Exception as error:
            raise InputError(f"the label map {path} cannot be read: {_reason(error, path)}") from error
        if labels.ndim != 2:
            raise InputError(f"the label map {path} is a colour picture; each pixel must be one class number")
        if labels.dtype != np.uint8:
            if labels.min() < 0 or labels.max() > IGNORE:
                raise InputError(f"the label map {path} has values from {labels.min()} to {labels.max()}; 0 to 255 fit")
            labels = labels.astype(np.uint8)
        return labels


def without_zero(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) uint8 in which c stood for class c - 1, as classes; 0 and the ignored 255 both end as 255."""
    return np.where((labels == 0) | (labels == IGNORE), IGNORE, labels - 1).astype(np.uint8)


@TRANSFORMS.register_module()
class CentreCrop(BaseTransform):
    """CLIPtrase's protocol (arXiv 2407.08268): the short side at `size` pixels, then the square in the middle.

    The picture through pillow's antialiased bicubic filter, the labels by nearest neighbours; the square is what is
    segmented and scored, so that its numbers stand beside no other protocol's.
    """

    def __init__(self, size: int) -> None:
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


@TRANSFORMS.register_module()
class Relabel(BaseTransform):
    """Other numbers for some label values, as another protocol counts them.

    Args:
        mapping: pairs (value, new value).
        empty: a map with these values only is ignored as a whole, which is asked before the mapping.
    """

    def __init__(self, mapping: Sequence[tuple[int, int]] = (), empty: Sequence[int] = ()) -> None:
        self.table = np.arange(IGNORE + 1, dtype=np.uint8)
        for value, new in mapping:
            self.table[value] = new
        self.empty = tuple(empty)

    def transform(self, results: dict) -> dict:
        labels = results["gt_seg_map"]
        nothing = np.isin(labels, self.empty).all()
        results["gt_seg_map"] = np.full_like(labels, IGNORE) if nothing else self.table[labels]
        return results


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


def _reason(error: Exception, path: str) -> str:
    if Path(path).is_file() and not Path(path).stat().st_size:
        return "it is empty"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
