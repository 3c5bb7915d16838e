"""Pictures of more than 8 bits, and of fractions, as 8-bit ones: by what is said of their values, or by their range."""

import warnings

import numpy as np

from ..errors import InputError

DEEPEST = 65535


def to_eight_bits(values: np.ndarray, told: str, most: int | None = None) -> np.ndarray:
    """Pixel values as uint8, of the same shape.

    Whole numbers are divided so that `most`, the largest value there may be, becomes 255: 65535 by 256, 4095 by 16.
    Where nobody says it, it is that of the fewest bits that hold all values, which is told in a warning but for 16
    bits. Fractions lie in [0, 1], or in [0, 255], which is told too.

    Args:
        values: of any whole or floating type.
        told: what the picture is called in a warning.
        most: 255 to 65535; of a picture that exceeds it, the values were spread over 16 bits, as PNG has it.
    Raises:
        InputError, with the reason alone: no number, infinity, negative values or ones beyond 16 bits.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "uif":
        raise InputError(f"its values are of type {values.dtype}, which are no brightnesses")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("it holds values that are no finite numbers (NaN or infinity)")
    low, high = values.min(), values.max()
    if low < 0 or high > DEEPEST:
        raise InputError(
            f"its values run from {low:.6g} to {high:.6g}; a picture's run from 0 to 1 or to 255, or have up to 16 bits"
        )
    if values.dtype.kind == "f" and high <= 255:
        return _fractions(values, float(high), told)
    if most is not None and high > most:
        most = DEEPEST
    if most is None:
        bits = max(8, int(np.ceil(high)).bit_length())
        most = 2**bits - 1
        if bits < 16:
            tell(f"{told} has no value above {most}, though its type has room: it is read as one of {bits} bits")
    wide = values.astype(np.int64 if values.dtype.kind != "f" else np.float64)
    return (wide * 256 // (most + 1)).astype(np.uint8)


def _fractions(values: np.ndarray, high: float, told: str) -> np.ndarray:
    """[0, 1], a little beyond by a filter's overshoot, or [0, 255]."""
    if high > 2:
        tell(f"{told} has fractions above 1: its values are read as brightnesses from 0 to 255")
        return np.rint(values).astype(np.uint8)
    if high > 1:
        tell(f"{told} has fractions that overshoot 1: they are read as brightnesses from 0 to 1, those above 1 as 1")
    return np.rint(values.clip(0, 1).astype(np.float64) * 255).astype(np.uint8)


def tell(text: str) -> None:
    """A warning of how a picture is read."""
    warnings.warn(text, UserWarning, stacklevel=4)
