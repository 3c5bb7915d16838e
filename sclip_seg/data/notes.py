"""What can be scored though it cannot be meant, in sentences: said beside a run's table and by `verify`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from .labels import IGNORE, LabelRule

UPRIGHT = 1  # in EXIF
NAMED = 10  # of a long list


def notes_on(
    meta: Mapping, labelled: np.ndarray, predicted: np.ndarray | None, pictures: Sequence[str], partial: bool
) -> list[str]:
    """Sentences on a dataset, none where all is well.

    Args:
        meta: the dataset's `metainfo`.
        labelled: (K,) labelled pixels of each class.
        predicted: (K,) pixels that were given each class, None where nothing was segmented.
        pictures: paths.
        partial: whether this is a part of the dataset, where a class may well not occur.
    """
    names = meta["classes"]
    rule = LabelRule.of(meta)
    notes = [*_twice(names), *([] if partial else _absent(names, labelled, predicted, rule))]
    if len(names) == 1:
        notes.append(f"{names[0]} is the only class: every pixel is given it, and any method scores the same")
    elif predicted is not None and np.count_nonzero(predicted) == 1 < np.count_nonzero(labelled):
        notes.append(f"every pixel of every picture was given one class, {names[int(predicted.argmax())]}")
    return notes + _eight_bit(names, labelled, rule) + _turned(pictures)


def keys_of(names: Sequence[str]) -> list[str]:
    """Class names as keys, all different: a name that stood before gets its number behind it."""
    keys: list[str] = []
    for index, name in enumerate(names):
        while name in keys:
            name += f" (class {index})"
        keys.append(name)
    return keys


def _twice(names: Sequence[str]) -> list[str]:
    first: dict[str, int] = {}
    notes = []
    for index, name in enumerate(names):
        earlier = first.setdefault(" ".join(name.casefold().split()), index)
        if earlier != index:
            notes.append(f"the class name {name} stands twice in the dataset's list, as class {earlier} and {index}")
    return notes


def _absent(names: Sequence[str], labelled: np.ndarray, predicted: np.ndarray | None, rule: LabelRule) -> list[str]:
    absent = np.flatnonzero(labelled == 0)
    if not len(absent):
        return []
    values = rule.values_of(absent)
    named = [f"{names[c]} (value {value})" for c, value in zip(absent, values, strict=True)]
    counted = 0 if predicted is None else np.count_nonzero(predicted[absent])
    effect = f"; {'its IoU counts' if len(absent) == 1 else f'the IoU of {counted} of them counts'} as 0 in the mean"
    return [
        f"no label map has the class{'es' * (len(absent) > 1)} {some(named)}"
        + (effect if counted else "")
        + _advice(len(names), set(absent.tolist()), rule)
    ]


def _advice(classes: int, absent: set[int], rule: LabelRule) -> str:
    """What such label maps often are."""
    if classes == 2 and absent == {1} and rule.ignore == IGNORE and not rule.reduce_zero_label:
        return "; in masks of 0 and 255 the latter is ignored: write 1 for it"
    if 0 in absent and not rule.reduce_zero_label:
        return "; where labels begin at 1, set reduce_zero_label=True"
    if classes - 1 in absent and rule.reduce_zero_label:
        return "; where labels begin at 0, do not set reduce_zero_label"
    return ""


def _eight_bit(names: Sequence[str], labelled: np.ndarray, rule: LabelRule) -> list[str]:
    """Label maps of 8 bits in a dataset whose ignored value 8 bits do not hold."""
    own = int(rule.classes_of(np.array([IGNORE], np.uint8))[0])
    if not own < len(names) - 1 or not labelled[own] or labelled[own + 1 :].any():
        return []
    return [
        f"{IGNORE} is the value of class {names[own]}, and no label map has one beyond it: where it should be ignored, "
        f"write {rule.ignore}"
    ]


def _turned(pictures: Sequence[str]) -> list[str]:
    turned = [picture for picture in pictures if orientation(picture) != UPRIGHT]
    if not turned:
        return []
    one = len(turned) == 1
    return [
        f"{len(turned)} picture{'' if one else 's'} of {len(pictures)} {'is' if one else 'are'} turned as "
        f"{'its' if one else 'their'} EXIF says ({some([Path(path).name for path in turned])}), and label maps never "
        "are: they must fit the turned picture"
    ]


def orientation(picture: str) -> int:
    """What EXIF says, from 1 (upright) to 8, by the header alone; 1 where it says nothing or cannot be read."""
    try:
        with Image.open(picture) as file:
            exif = Image.Exif()
            if "exif" in file.info:  # by `getexif` pillow would decode a whole PNG to look behind its pixels
                exif.load(file.info["exif"])
            elif file.format == "TIFF":
                exif = file.getexif()
            value = exif.get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # an unreadable picture is another's to name
        return UPRIGHT
    return value if value in range(2, 9) else UPRIGHT


def some(names: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
