"""What a picture's file says of itself before a pixel is decoded: its size, its depth, its bands and frames."""

import os
import re
import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from threading import Lock

from PIL import Image, TiffImagePlugin

from ..errors import InputError

MOST_PIXELS = 200_000_000
OPTION = "SCLIP_SEG_MAX_PIXELS"
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CMYK = 5  # TIFF's number
_opening = Lock()


@dataclass(frozen=True)
class Header:
    """`size` (height, width), in pixels; `bands` of a pixel.

    `is_deep`: a value has, or may have, more than 8 bits; `bits`: how many it has where they are 9 to 15; `most`: the
    largest value that the file speaks of, or None; `has_alpha`: a band, or a palette, says how transparent a pixel is;
    `has_scan_end`: the data of a JPEG (2000) are not cut off.
    """

    kind: str
    size: tuple[int, int]
    bands: int
    is_deep: bool = False
    bits: int | None = None
    most: int | None = None
    frames: int = 1
    has_alpha: bool = False
    is_cmyk: bool = False
    has_scan_end: bool = True


def read_header(content: bytes) -> Header:
    """The header of a picture's file. Raises InputError, with the reason alone, for what is no picture or too large."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(content)
        elif content.startswith(TIFF):
            header = _tiff(content)
        else:
            header = _other(content)
    except InputError:
        raise
    except Exception as error:  # a damaged header: struct, zlib and pillow raise what they like
        raise InputError(f"its header is damaged ({str(error).splitlines()[0] if str(error) else error!r})") from error
    check_pixels(*header.size)
    return header


def check_bands(bands: int) -> None:
    """Raises InputError, with the reason alone, for a number of bands that no picture of colours has."""
    if bands not in (1, 2, 3, 4):
        raise InputError(f"it has {bands} bands, and a picture has 1 (grey), 3 (RGB) or 4 (RGB and alpha)")


def check_pixels(height: int, width: int) -> None:
    """Raises InputError, with the reason alone, for more pixels than the limit, which the environment may raise."""
    told = os.environ.get(OPTION, str(MOST_PIXELS))
    if not re.fullmatch(r"[0-9_]+", told) or not int(told):
        raise InputError(f"{OPTION} in the environment is {told!r}; it is a number of pixels")
    if not height * width:
        raise InputError("it has no pixels")
    if height * width > int(told):
        raise InputError(
            f"it has {width} x {height} pixels, {height * width:,} in all, and the limit is {int(told):,}; "
            f"{OPTION}={height * width} in the environment raises it"
        )


def open_with_pillow(content: bytes) -> Image.Image:
    """The file as pillow knows it, its pixels undecoded. Raises what pillow raises, but never for its size."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF entries
        bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours is asked, which can be raised
        try:
            return Image.open(BytesIO(content))
        finally:
            Image.MAX_IMAGE_PIXELS = bound


def _png(content: bytes) -> Header:
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    most, frames, has_alpha, place = None, 1, colour in (4, 6), 8
    while place + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        data = content[place + 8 : place + 8 + length]
        if name == b"IDAT":
            break
        if name == b"sBIT" and data:
            most = 2 ** max(data[:-1] if colour in (4, 6) and len(data) > 1 else data) - 1
        if name == b"acTL":
            frames = struct.unpack(">I", data[:4])[0]
        has_alpha |= name == b"tRNS"
        place += 12 + length
    bands = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 0)
    return Header("PNG", (height, width), bands, depth == 16, None, most, frames, has_alpha)


def _tiff(content: bytes) -> Header:
    """The first page's; reduced copies and masks are no pages."""
    file = BytesIO(content)
    head = file.read(8)
    head += file.read(8) if 43 in (head[2], head[3]) else b""
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    first, seen, frames = None, set(), 0
    while tags.next and tags.next not in seen and len(seen) < 1000:
        seen.add(tags.next)
        file.seek(tags.next)
        tags.load(file)
        frames += not tags.get(254, 0) & 0b101
        if first is None:
            names = (256, 257, 258, 262, 277, 281, 322, 323, 339)
            first = {name: tags[name] for name in names if name in tags}
    width, height = int(first[256]), int(first[257])
    check_pixels(int(first.get(323, 1)), int(first.get(322, 1)))  # a tile is decoded whole
    bits, formats, bands = first.get(258, (1,)), first.get(339, (1,)), int(first.get(277, 1))
    most = int(max(first.get(281, (0,))))
    most = most if max(bits) == 16 and 255 < most < 65535 else None
    odd = max(bits) if 8 < max(bits) < 16 else None
    is_cmyk = first.get(262) == CMYK
    has_alpha = bands == 4 and not is_cmyk
    is_deep = max(bits) > 8 or set(formats) - {1, 4} != set()
    return Header("TIFF", (height, width), bands, is_deep, odd, most, max(frames, 1), has_alpha, is_cmyk)


def _other(content: bytes) -> Header:
    try:
        picture = open_with_pillow(content)
    except Image.UnidentifiedImageError:
        if content[4:8] == b"ftyp" and content[8:12] in HEIF:
            raise InputError("it is HEIC, which is not read; save it as JPEG or PNG") from None
        raise InputError(
            "it is no picture of a kind that is read (PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, JPEG 2000)"
            if content
            else "it is empty"
        ) from None
    with picture:
        kind, mode, is_mpo = picture.format, picture.mode, picture.format == "MPO"  # of phones: with a preview
        most = _netpbm_most(content) if kind == "PPM" else None
        is_deep = kind == "JPEG2000" or mode.startswith(("I", "F")) or (most or 0) > 255
        frames = picture.n_frames if getattr(picture, "is_animated", False) and not is_mpo else 1
        has_alpha = mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info
        has_end = kind not in ("JPEG", "MPO", "JPEG2000") or _has_scan_end(content)
        size = picture.size[::-1]
        bands = len(picture.getbands())
        return Header(kind, size, bands, is_deep, None, most, frames, has_alpha, mode == "CMYK", has_end)


def _netpbm_most(content: bytes) -> int | None:
    words = re.sub(rb"#[^\n\r]*", b" ", content[:4096]).split(maxsplit=4)
    return int(words[3]) if content[:2] in (b"P2", b"P3", b"P5", b"P6") and words[3:] and words[3].isdigit() else None


def _has_scan_end(content: bytes) -> bool:
    """Whether a JPEG's end follows its first scan: before it, the preview in its EXIF has an end of its own.

    JPEG 2000 has the same mark at its end, and boxes before it, in which no FF D9 is expected.
    """
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xDA:
            break
        if marker == 0xFF:
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            place += 2
        else:
            place += 2 + struct.unpack(">H", content[place + 2 : place + 4])[0]
    return content.find(b"\xff\xd9", place) >= 0
