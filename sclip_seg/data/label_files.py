"""Label files: the stored value of each pixel, or why there is none."""

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import reason_of

LARGEST = 65535  # what 16 bits hold
SCALED = {"L;2": 85, "L;4": 17}  # pillow spreads the values of 2 and 4 bits over 8
LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "JPEG2000": "JPEG 2000", "WEBP": "WebP", "AVIF": "AVIF", "HEIF": "HEIF"}
LOSSY_IN_TIFF = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 50001: "WebP"}
COMPRESSION, SAMPLE_FORMAT, SUBFILE = 259, 339, 254  # tags of TIFF
SIGNED, REDUCED = 2, 1  # values of the last two


def read_labels(path: str) -> np.ndarray:
    """The stored values (H, W) of a label file, uint8, or uint16 where they need it; those of a palette by number.

    Raises InputError for what cannot be read, has colours, several pages, or a lossy format, and for values that are
    negative, fractions, not a number, or beyond 65535.
    """
    try:
        with Image.open(path) as file:
            fault = _fault(file)
            values = None if fault else _stored(file)
    except Exception as error:  # the decoders raise what they like
        raise InputError(f"the label map {path} cannot be read: {reason_of(error, path)}") from error
    if fault:
        raise InputError(f"the label map {path} {fault}")
    return whole_numbers(values, path)


def whole_numbers(values: np.ndarray, path: str) -> np.ndarray:
    """Numbers (H, W) of any type as uint8 or uint16. Raises InputError, naming the file, where one would change."""
    what = f"the label map {path}"
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        raise InputError(f"{what} is an array {values.shape} of {values.dtype}; each pixel must be one class number")
    if values.dtype.kind == "f":
        odd = ~np.isfinite(values)
        if odd.any():
            raise InputError(
                f"{what} has {_first(values, odd)}: no class, and not ignored; write the dataset's ignored value there"
            )
        odd = values != np.trunc(values)
        if odd.any():
            raise InputError(f"{what} has the fraction {_first(values, odd)}; each pixel must be one class number")
    for odd, why in ((values < 0, f"negative; 0 to {LARGEST} fit"), (values > LARGEST, f"beyond {LARGEST}")):
        if odd.any():
            raise InputError(
                f"{what} has the value {_first(values, odd)}, which is {why}; write the dataset's ignored value where "
                "there is no class"
            )
    return narrow(values)


def narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 on in the smallest unsigned type that holds them all."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False)


def _fault(file: Image.Image) -> str:
    """What is wrong with a kind of file, "" for nothing; no pixel is looked at."""
    lossy = LOSSY.get(file.format)
    if file.format == "TIFF":
        lossy = LOSSY_IN_TIFF.get(file.tag_v2.get(COMPRESSION))
    if lossy:
        return f"is {lossy}, which may change values as it is written, and a changed value is another class; use PNG"
    if len(file.getbands()) > 1:
        return f"is a colour picture ({file.mode}); each pixel must be one class number"
    if _pages(file) > 1:
        return f"holds {_pages(file)} pictures; each pixel must be one class number"
    return ""


def _pages(file: Image.Image) -> int:
    """Pictures in the file, smaller copies of one aside."""
    count = getattr(file, "n_frames", 1)
    if count == 1 or file.format != "TIFF":
        return count
    pages = 0
    for index in range(count):
        file.seek(index)
        pages += not file.tag_v2.get(SUBFILE, 0) & REDUCED
    file.seek(0)
    return pages


def _stored(file: Image.Image) -> np.ndarray:
    """The numbers in the file, of whatever type."""
    arguments = file.tile[0][3] if file.tile else None
    raw = arguments[0] if isinstance(arguments, tuple) else arguments
    tags = file.tag_v2 if file.format == "TIFF" else {}
    values = np.asarray(file)
    is_signed = SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1))
    if values.dtype == np.uint8 and is_signed:
        return values.view(np.int8)
    if values.dtype == np.int32 and tags and not is_signed:
        return values.astype(np.int64) % 2**32
    return values // SCALED[raw] if raw in SCALED else values


def _first(values: np.ndarray, odd: np.ndarray) -> str:
    """The first odd value, how many pixels are odd, and where it is."""
    row, column = np.argwhere(odd)[0]
    pixels = int(odd.sum())
    return f"{values[row, column]} (row {row}, column {column}; {pixels} such pixel{'s' * (pixels != 1)})"
