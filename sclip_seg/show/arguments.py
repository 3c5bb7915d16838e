"""The kinds of the Python API's arguments: each check raises InputError, in words, for a value of another kind."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import InputError


def check_load(method: object, backbone: object, dataset: object, device: object, options: object) -> None:
    """For `load`."""
    wanted = {
        "method": (method, str | Path, "a name, or the path of a config"),
        "backbone": (backbone, str, "a name"),
        "dataset": (dataset, str | None, "a name, or None"),
        "device": (device, str | torch.device | None, "a name that torch knows, or None"),
        "options": (options, Mapping | None, "a mapping from settings to values, or None"),
    }
    for name, (value, types, what) in wanted.items():
        if not isinstance(value, types):
            raise InputError(f"{name} is {what}, not {type(value).__name__} ({value!r})")
    odd = [key for key in options or {} if not isinstance(key, str)]
    if odd:
        raise InputError(f"options are named by texts like 'model.precision', not by {odd[0]!r}")


def check_stream(pictures: object) -> None:
    """Pictures one after the other; a single one would be taken apart."""
    single = str | Path | bytes | Mapping | Image.Image | np.ndarray
    if isinstance(pictures, single) or not isinstance(pictures, Iterable):
        raise InputError(f"stream takes pictures one after the other, e.g. a list, not {type(pictures).__name__}")


def check_points(points: object) -> list[tuple[int, int]]:
    """The pairs (y, x)."""
    return [_pair(point) for point in (points if isinstance(points, Iterable) else [points])]


def check_block(block: object) -> None:
    """The number of a block."""
    if not isinstance(block, Integral) or isinstance(block, bool):
        raise InputError(f"the block is {block!r}; it is a whole number, -1 for the last one")


def _pair(point: object) -> tuple[int, int]:
    if not isinstance(point, tuple | list | np.ndarray) or len(point) != 2:
        raise InputError(f"{point!r} is no point; a pair (y, x) in pixels is")
    if not all(isinstance(place, Real) and math.isfinite(place) for place in point):
        raise InputError(f"the point {point!r} holds what is no number; a pair (y, x) in pixels is one")
    return tuple(point)
