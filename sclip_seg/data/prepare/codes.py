"""How label files encode their classes, and the values that are evaluated: one reader a kind, by the catalogue's rule.

`values`    the numbers in the file, or of its `matlab` variable, by a table; a list is that of the classes 0, 1, ...
`colours`   rows of red, green, blue and class; with `binary`, each of the three is 255 above that value, 0 else
`packed`    a number in red and green, as ADE20K's full set has it; then by such a table
`panoptic`  a segment's number in red, green and blue, its category in a JSON beside; that by such a table
`brighter`  pixels above that value are of the class whose number begins the folder's name, the others of class 0

Whatever the table lacks becomes the value `else`, or is refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from ...errors import InputError
from ...files import reason_of
from ..label_files import narrow, read_labels, whole_numbers
from .tables import UNKNOWN

Reader = Callable[[Path], np.ndarray]


def reader(rule: Mapping, data: Path) -> Reader:
    """From a label file to its values (H, W) as evaluated. The reader raises InputError for values without a rule."""
    other = rule.get("else")
    if "colours" in rule:
        return partial(_by_colour, {tuple(row[:3]): row[3] for row in rule["colours"]}, rule.get("binary"), other)
    if "brighter" in rule:
        return partial(_by_folder, rule["brighter"])
    table = _table(rule.get("values", {}))
    if "panoptic" in rule:
        segments = cache(partial(_segments, data / rule["panoptic"]))
        return lambda path: _by_segment(path, segments(), table, other)
    stored = partial(matlab, rule["matlab"]) if "matlab" in rule else _packed if "packed" in rule else _stored
    return stored if not table else lambda path: translated(stored(path), table, other, path)


def _table(values: Mapping[int, int] | list[int]) -> Mapping[int, int]:
    return values if isinstance(values, Mapping) else {value: c for c, value in enumerate(values)}


def translated(values: np.ndarray, table: Mapping[int, int], other: int | None, path: Path) -> np.ndarray:
    """Each value by the table, and `other` for those that it lacks. Raises InputError where that is None."""
    labels = _looked_up(values, table, other)
    if (labels == UNKNOWN).any():
        value = int(values[labels == UNKNOWN].min())
        raise InputError(f"the label map {path} has the value {value}, for which the benchmark has no class")
    return narrow(labels)


def _looked_up(values: np.ndarray, table: Mapping[int, int], other: int | None) -> np.ndarray:
    """Values of up to 24 bits by a table, `UNKNOWN` where it has none; a large picture's without sorting its pixels."""
    every = np.full(int(values.max()) + 1, UNKNOWN if other is None else other, np.int32)
    known = [value for value in table if value < len(every)]
    every[known] = [table[value] for value in known]
    return every[values]


def _stored(path: Path) -> np.ndarray:
    return read_labels(str(path))


def matlab(variable: str, path: Path) -> np.ndarray:
    """The variable of a MATLAB file as a label map (H, W). Raises InputError."""
    try:
        stored = loadmat(path)[variable]
    except Exception as error:  # scipy raises what it likes
        raise InputError(f"the label map {path} cannot be read: {type(error).__name__}: {error}") from error
    return whole_numbers(stored, str(path))


def _by_colour(colours: Mapping[tuple, int], binary: int | None, other: int | None, path: Path) -> np.ndarray:
    pixels = _colours(path)
    codes = _numbers(pixels if binary is None else (pixels > binary).astype(np.uint8) * 255)
    labels = _looked_up(codes, {r + 256 * g + 256**2 * b: c for (r, g, b), c in colours.items()}, other)
    if (labels == UNKNOWN).any():
        colour = tuple(pixels[labels == UNKNOWN][0].tolist())
        raise InputError(f"the label map {path} has the colour {colour}, for which the benchmark has no class")
    return narrow(labels)


def _by_folder(above: int, path: Path) -> np.ndarray:
    number = re.match(r"\d+", path.parent.name)
    if number is None:
        raise InputError(f"the label map {path} lies in a folder that begins with no class number")
    try:
        with Image.open(path) as file:
            is_thing = np.asarray(file.convert("L")) > above
    except Exception as error:  # the decoders raise what they like
        raise InputError(f"the label map {path} cannot be read: {reason_of(error, str(path))}") from error
    return narrow(is_thing * int(number[0]))


def _packed(path: Path) -> np.ndarray:
    pixels = _colours(path).astype(np.int32)
    return pixels[..., 0] // 10 * 256 + pixels[..., 1]


def _by_segment(path: Path, segments: Mapping[str, dict], values: Mapping[int, int], other: int | None) -> np.ndarray:
    if path.name not in segments:
        raise InputError(f"the label map {path} is not in the list of segments")
    table = {number: values[category] for number, category in segments[path.name].items() if category in values}
    return translated(_numbers(_colours(path)), table if other is None else {0: other, **table}, None, path)


def _segments(file: Path) -> dict[str, dict[int, int]]:
    """File name -> segment's number -> category, of a JSON of COCO's panoptic kind."""
    try:
        annotations = json.loads(file.read_text(encoding="utf-8"))["annotations"]
        return {
            entry["file_name"]: {segment["id"]: segment["category_id"] for segment in entry["segments_info"]}
            for entry in annotations
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the segments {file} cannot be read: {reason_of(error, str(file))}") from error


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """(H, W) int32 of (H, W, 3): red, green and blue as the digits of one number, red the lowest."""
    numbers = pixels[..., 0].astype(np.int32)
    for band in (1, 2):  # in place: a large picture has 36 million pixels
        numbers |= pixels[..., band].astype(np.int32) << 8 * band
    return numbers


def _colours(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 red, green and blue; without transparency."""
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except Exception as error:  # the decoders raise what they like
        raise InputError(f"the label map {path} cannot be read: {reason_of(error, str(path))}") from error
