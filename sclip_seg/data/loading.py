"""Steps of the data pipeline: pictures and label maps, from their files to arrays; what cannot be read is named."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from mmseg.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

from ..errors import InputError
from ..files import reason_of
from ..handed_in import existing
from ..settings import Pixels
from .bands import decode_bands
from .headers import read_header
from .label_files import narrow, read_labels
from .labels import LabelRule, LabelValue
from .pictures import decode, from_array, from_pillow


@TRANSFORMS.register_module(name=["LoadPicture", "LoadImageFromFile"])  # mmseg has none of its own; mmcv's stays
class LoadPicture(LoadImageFromFile):
    """A picture as (H, W, 3) uint8 BGR through cv2: grey, RGBA and deep ones too, turned as EXIF says.

    Its header is read first: more pixels than `headers.MOST_PIXELS` are not decoded. More than 8 bits are scaled
    (`depth.to_eight_bits`). Where the dataset says which `bands` are red, green and blue, it may have many.
    """

    def transform(self, results: dict, told: str = "a picture of the dataset") -> dict:
        """Adds the picture at `img_path`; `told`: what it is called in a warning. Raises InputError."""
        path = results["img_path"]
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            if results.get("bands"):
                results["img"] = decode_bands(content, results["bands"], told)
            else:
                header = read_header(content)
                is_plain = self.color_type != "color" or self.imdecode_backend not in (None, "cv2")
                results["img"] = self._decode(content, path) if is_plain else decode(content, header, told)
        except Exception as error:  # the decoders raise what they like
            raise InputError(f"the picture {path} cannot be read: {reason_of(error, path)}") from error
        if self.to_float32:
            results["img"] = results["img"].astype(np.float32)
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results

    def _decode(self, content: bytes, path: str) -> np.ndarray:
        """As a config wants it that asks for anything but cv2's colours."""
        pixels = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        if pixels is None:
            raise InputError(f"{self.imdecode_backend} does not read it")
        return pixels


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """A label map as classes (H, W) through pillow, which does not turn it as EXIF says, by the dataset's rule.

    mmseg's own step casts to 8 bits unseen, so that a label 300 becomes 44. Pictures of mmseg's inferencer have none.
    """

    def transform(self, results: dict) -> dict:
        if "seg_map_path" not in results:
            return results
        results["gt_seg_map"] = LabelRule.of(results).classes_of(read_labels(results["seg_map_path"]))
        results["seg_fields"].append("gt_seg_map")
        return results


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
        """(H, W[, 3]) uint8, or labels (H, W) of more bits, -> (size, size[, 3])."""
        pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32)  # what pillow resizes by neighbours
        return np.array(center_crop(resize(Image.fromarray(pixels), self.size, mode), [self.size, self.size]))


@TRANSFORMS.register_module()
class Relabel(BaseTransform):
    """Other numbers for some classes, as another protocol counts them.

    Args:
        mapping: pairs (class, new class).
        empty: a map with these classes only is ignored as a whole, which is asked before the mapping.
    """

    def __init__(self, mapping: Sequence[tuple[LabelValue, LabelValue]] = (), empty: Sequence[LabelValue] = ()) -> None:
        self.mapping = dict(mapping)
        self.empty = tuple(empty)

    def transform(self, results: dict) -> dict:
        labels = results["gt_seg_map"]
        if np.isin(labels, self.empty).all():
            ignore = LabelRule.of(results).ignore
            results["gt_seg_map"] = np.full(labels.shape, ignore, np.min_scalar_type(ignore))
        elif self.mapping:
            table = np.arange(max(int(labels.max()), *self.mapping) + 1)
            table[list(self.mapping)] = list(self.mapping.values())
            results["gt_seg_map"] = narrow(table[labels])
        return results


def read_picture(picture: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """A file's path, a PIL picture or an array as (H, W, 3) uint8 BGR, what `LoadPicture` gives for the file.

    Arrays are RGB, (H, W, 3), or grey, (H, W), of type uint8; a fourth channel (alpha) is left out. Files and PIL
    pictures may be deeper, or of fractions (`depth.to_eight_bits`); what is left out of them, or read one way of
    several, is told in a warning.
    Raises InputError for a file that cannot be read and an array that is no such picture.
    """
    if isinstance(picture, str | Path):
        path = existing(picture)
        return LoadPicture().transform({"img_path": str(path)}, f"the picture {path}")["img"]
    if isinstance(picture, Image.Image):
        try:
            return from_pillow(picture)
        except Exception as error:  # pillow decodes late, and raises what it likes
            raise InputError(f"the PIL picture cannot be read: {reason_of(error, '')}") from error
    if isinstance(picture, np.ndarray):
        return from_array(picture)
    hint = {"Tensor": "; of a tensor (3, H, W), give tensor.permute(1, 2, 0).cpu().numpy()"}
    hint["bytes"] = hint["bytearray"] = "; of a file's content, give PIL.Image.open(io.BytesIO(content))"
    kind = type(picture).__name__
    raise InputError(f"a picture is a path, a PIL picture or an array, not {kind}{hint.get(kind, '')}")
