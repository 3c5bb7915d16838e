"""Pictures as (H, W, 3) of 8 bits, whatever they were; what is left out of one is told."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

from ..errors import InputError
from .depth import DEEPEST, tell, to_eight_bits
from .headers import Header, check_bands, check_pixels, open_with_pillow, read_header

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")  # of files that are looked for
LONGEST = 2**20  # pixels; cv2's own bound of a side


def decode(content: bytes, header: Header, told: str) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a picture's file. Raises InputError with the reason alone."""
    check_bands(header.bands)
    if not header.has_scan_end:
        raise InputError("it is cut off: its end is missing")
    _tell_of(header, told)
    buffer = np.frombuffer(content, np.uint8)
    if header.is_deep:
        values = _cv2(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if values is not None and values.dtype != np.uint8:
            # cv2 spreads the 10, 12 or 14 bits of a TIFF over all 16.
            return _three_bands(to_eight_bits(values, told, DEEPEST if header.bits else header.most))
    pixels = _cv2(buffer, cv2.IMREAD_COLOR)
    if pixels is None:
        if max(header.size) > LONGEST:
            raise InputError(f"a side is longer than {LONGEST} pixels, which cv2 does not read")
        pixels = _by_others(content, buffer, header, told)
    check_pixels(*pixels.shape[:2])  # a header may say anything
    if header.has_alpha:
        how = "over black, as cv2 does it" if header.kind == "TIFF" and not header.is_deep else "without it"
        _tell_of_alpha(_cv2(buffer, cv2.IMREAD_UNCHANGED), told, how)
    return pixels


def _cv2(buffer: np.ndarray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(buffer, flags)
    except cv2.error:  # of a side that is too long, for example
        return None


def _by_others(content: bytes, buffer: np.ndarray, header: Header, told: str) -> np.ndarray:
    """Of what cv2 does not read in colour: by pillow, or as the plain values of one band."""
    try:
        with open_with_pillow(content) as picture:
            return _bgr(ImageOps.exif_transpose(picture), told, 2**header.bits - 1 if header.bits else header.most)
    except Image.UnidentifiedImageError:
        values = _cv2(buffer, cv2.IMREAD_UNCHANGED)
        if values is None:
            raise InputError(f"neither cv2 nor pillow reads this kind of {header.kind}") from None
        return _three_bands(to_eight_bits(values, told, header.most))


def _bgr(picture: Image.Image, told: str, most: int | None = None) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a PIL picture, upright."""
    if picture.mode.startswith(("I", "F")):
        return _three_bands(to_eight_bits(np.asarray(picture), told, most))
    return np.ascontiguousarray(np.array(picture.convert("RGB"))[..., ::-1])


def from_pillow(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a PIL picture, turned as EXIF says. Raises InputError, or what pillow raises."""
    told, most = "the PIL picture", None
    check_pixels(picture.height, picture.width)
    check_bands(getattr(picture, "tag_v2", {}).get(277, 3))  # pillow drops those that it has no mode for
    if content := _deep_file_of(picture):
        return decode(content, read_header(content), told)
    if picture.mode.startswith("I"):
        most = _said_by_pillow(picture)
    if getattr(picture, "is_animated", False) and picture.format != "MPO" and not picture.tell():
        tell(f"{told} has {picture.n_frames} frames or pages: the first is read")
    if picture.mode == "CMYK":
        _tell_of_cmyk(told)
    upright = ImageOps.exif_transpose(picture)
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        _tell_of_alpha(np.asarray(upright.convert("RGBA")), told)
    return _bgr(upright, told, most)


def _said_by_pillow(picture: Image.Image) -> int | None:
    """The largest value of a deep grey picture; pillow spreads a PPM's over 16 bits and leaves a TIFF's as they are."""
    tags = getattr(picture, "tag_v2", {})
    bits, most = (max(tags.get(name, (0,))) for name in (258, 281))
    if picture.format == "PPM":
        return DEEPEST
    return 2**bits - 1 if 8 < bits < 16 else most if 255 < most < DEEPEST else None


def _deep_file_of(picture: Image.Image) -> bytes | None:
    """The file of a deep PIL picture as it was opened: of RGB, pillow keeps 8 bits, and of a PNG not what it says."""
    if not isinstance(picture, ImageFile.ImageFile) or picture.format not in ("PNG", "TIFF") or picture.tell():
        return None
    if picture.format == "TIFF" and (picture.mode.startswith(("I", "F")) or max(picture.tag_v2.get(258, (8,))) <= 8):
        return None
    file, is_open = picture.fp, picture.fp is not None and not getattr(picture.fp, "closed", False)
    if is_open and file.seekable():
        place = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(place)
    elif picture.filename and Path(picture.filename).is_file():
        content = Path(picture.filename).read_bytes()
    else:
        return None
    if content[:4] == b"\x89PNG" and content[24:25] != b"\x10":
        return None
    if not getattr(picture, "tile", None):  # decoded, and perhaps painted on
        with open_with_pillow(content) as fresh:
            if (fresh.mode, fresh.size) != (picture.mode, picture.size) or fresh.tobytes() != picture.tobytes():
                return None
    return content


def from_array(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR of an RGB or grey array. Raises InputError.

    Nothing is known of an array's range, so that other types than uint8 are the caller's to scale.
    """
    shape = f"an array {picture.shape} of {picture.dtype}"
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
        scaled = {
            "f": "; of values from 0 to 1, (255 * array).round().astype(np.uint8) is",
            "u": "; of 16 bits, (array // 256).astype(np.uint8) is",
        }
        hint = "" if picture.dtype == np.uint8 else scaled.get(picture.dtype.kind, "")
        raise InputError(f"{shape} is no picture: (H, W, 3) RGB or (H, W) of uint8, from 0 to 255, is{hint}")
    if picture.ndim == 3 and picture.shape[2] not in (3, 4):
        raise InputError(f"{shape} is no picture: it has {picture.shape[2]} channels, and the last axis must hold RGB")
    return _three_bands(picture if picture.ndim == 2 else picture[..., 2::-1])


def _three_bands(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of grey (H, W), or of three bands or more."""
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _tell_of(header: Header, told: str) -> None:
    if header.frames > 1:
        tell(f"{told} has {header.frames} frames or pages: the first is read")
    if header.is_cmyk:
        _tell_of_cmyk(told)
    if header.kind == "TIFF" and header.bands == 2:
        tell(f"{told} has 2 bands: the first is read, as grey")


def _tell_of_cmyk(told: str) -> None:
    tell(f"{told} is CMYK: it is read as RGB by the plain formula, without its colour profile")


def _tell_of_alpha(pixels: np.ndarray | None, told: str, how: str = "without it") -> None:
    """Of (H, W, 4): the fourth band may hide what the others hold."""
    if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4:
        full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        if pixels[..., 3].min() < full:
            tell(f"{told} has a fourth band (transparency, as a rule); it is read {how}")
