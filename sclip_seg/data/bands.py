"""Pictures of many bands, as satellites take them: three are chosen for red, green and blue."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import reason_of
from .depth import to_eight_bits
from .headers import check_pixels


def read_bands(path: Path, bands: Sequence[int], white: Sequence[float] | None = None) -> np.ndarray:
    """The file as (H, W, 3) uint8 BGR; `bands` counts from 1. Raises InputError.

    `white`: the value of each band that becomes 255; without it they are scaled as deep pictures are (depth.py).
    """
    try:
        return decode_bands(Path(path).read_bytes(), bands, f"the picture {path}", white)
    except (InputError, OSError) as error:
        raise InputError(f"the picture {path} cannot be read: {reason_of(error, path)}") from error


def decode_bands(content: bytes, bands: Sequence[int], told: str, white: Sequence[float] | None = None) -> np.ndarray:
    """Of a file's content; `told`: what the picture is called in a warning. An InputError has the reason alone."""
    values = _stored(content)
    if max(bands) > values.shape[2]:
        raise InputError(f"it has {values.shape[2]} bands, and band {max(bands)} was asked for")
    rgb = values[..., [band - 1 for band in bands]]
    if white is None:
        return np.ascontiguousarray(to_eight_bits(rgb, told)[..., ::-1])
    shares = np.clip(np.nan_to_num(rgb / np.asarray(white, np.float64)), 0, 1)
    return np.ascontiguousarray((shares * 255).astype(np.uint8)[..., ::-1])


def _stored(content: bytes) -> np.ndarray:
    """(H, W, bands) of a TIFF's first image, in whichever order it keeps them."""
    try:
        import tifffile
    except ImportError as error:
        raise InputError("files of many bands need the package tifffile: pip install tifffile") from error
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            page = file.pages[0]
            check_pixels(page.imagelength, page.imagewidth)
            axes, values = page.axes, page.asarray()
    except InputError:
        raise
    except Exception as error:  # the decoder raises what it likes
        raise InputError(
            f"it is no TIFF of several bands: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    if values.ndim == 2:
        return values[..., None]
    return np.moveaxis(values, axes.index("S"), -1)
