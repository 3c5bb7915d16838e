"""How label files encode their classes, and the values that are evaluated: one reader a kind, by the catalogue's rule.

`values`    the numbers in the file, or of its `matlab` variable, by a table; a list is that of the classes 0, 1, ...
`colours`   rows of red, green, blue and class; with `binary`, each of the three is 255 above that value, 0 else
`packed`    a number in red and green, as ADE20K's full set has it; then by such a table
`panoptic`  a segment's number in red, green and blue, its category in a JSON beside; that by such a table

Whatever the table lacks becomes the value `else`, or is refused.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from ...errors import InputError
from ...files import reason_of
from ..label_files import narrow, read_labels, whole_numbers

Reader = Callable[[Path], np.ndarray]
PLACES = np.array([1, 2**8, 2**16])  # of red, green and blue in one number


def reader(rule: Mapping, data: Path) -> Reader:
    """From a label file to its values (H, W) as evaluated. The reader raises InputError for values without a rule."""
    other = rule.get("else")
    if "colours" in rule:
        return partial(_by_colour, {tuple(row[:3]): row[3] for row in rule["colours"]}, rule.get("binary"), other)
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
    found, places = np.unique(values, return_inverse=True)
    absent = [int(value) for value in found if int(value) not in table]
    if absent and other is None:
        raise InputError(f"the label map {path} has the value {absent[0]}, for which the benchmark has no class")
    return narrow(np.array([table.get(int(value), other) for value in found])[places].reshape(values.shape))


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
    pixels = _colours(path) if binary is None else (_colours(path) > binary) * 255
    table = {int(np.dot(colour, PLACES)): c for colour, c in colours.items()}
    codes = pixels @ PLACES
    if other is None and not np.isin(codes, [*table]).all():
        row, column = np.argwhere(~np.isin(codes, [*table]))[0]
        colour = tuple(int(value) for value in pixels[row, column])
        raise InputError(f"the label map {path} has the colour {colour}, for which the benchmark has no class")
    return translated(codes, table, other, path)


def _packed(path: Path) -> np.ndarray:
    red, green, _ = np.moveaxis(_colours(path), -1, 0)
    return red // 10 * 256 + green


def _by_segment(path: Path, segments: Mapping[str, dict], values: Mapping[int, int], other: int | None) -> np.ndarray:
    if path.name not in segments:
        raise InputError(f"the label map {path} is not in the list of segments")
    table = {number: values[category] for number, category in segments[path.name].items() if category in values}
    return translated(_colours(path) @ PLACES, table if other is None else {0: other, **table}, None, path)


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


def _colours(path: Path) -> np.ndarray:
    """(H, W, 3) int64 red, green and blue; without transparency."""
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB")).astype(np.int64)
    except Exception as error:  # the decoders raise what they like
        raise InputError(f"the label map {path} cannot be read: {reason_of(error, str(path))}") from error
