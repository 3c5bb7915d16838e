"""Label maps: from the values of a file to classes, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from mmseg.datasets import BaseSegDataset
from PIL import Image

from ..errors import InputError
from ..settings import Range
from .label_files import LARGEST, narrow

IGNORE = 255
LabelValue = Annotated[int, Range(0, LARGEST)]
MISFIT = LARGEST + 1  # what is added to a value that would become the ignored number without being ignored


def default_ignore(values: int) -> int:
    """The ignored value of label maps whose classes have the values below `values`: 255, or 65535 where 255 is one."""
    return IGNORE if values <= IGNORE else LARGEST


@dataclass(frozen=True)
class LabelRule:
    """How the values in a dataset's label files and its classes belong together: the only place that knows.

    In this order, which is mmsegmentation's since its pull request 2517: the value `ignore` is ignored; with
    `reduce_zero_label` 0 is ignored too and value v stands for class v - 1; then `label_map`, where only some of a
    dataset's classes were chosen, gives each class its new number, and those that were not chosen (-1, or mmseg's
    255) are ignored. Ignored pixels have the class number `ignore`.
    """

    reduce_zero_label: bool = False
    label_map: Mapping[int, int] | None = None
    ignore: int = IGNORE

    @classmethod
    def of(cls, source: Mapping) -> "LabelRule":
        """The rule in a dataset's `metainfo`, or in what it hands to its pipeline for a picture.

        Raises InputError where the ignored value is that of a class.
        """
        rule = cls(bool(source.get("reduce_zero_label")), source.get("label_map"), source.get("ignore_index", IGNORE))
        if source.get("classes") is not None:
            rule.check(len(source["classes"]))
        return rule

    @classmethod
    def of_dataset(cls, dataset: BaseSegDataset) -> "LabelRule":
        """That of a dataset. Raises InputError where it has an `ignore_index` that its class does not hand on."""
        rule = cls.of(dataset.metainfo)
        if dataset.ignore_index != rule.ignore:
            raise InputError(
                f"ignore_index={dataset.ignore_index} reaches no label map of {type(dataset).__name__}, which ignores "
                f"{rule.ignore}: use FolderDataset, or write {rule.ignore} into the label maps"
            )
        return rule

    def check(self, classes: int) -> None:
        """Raises InputError where the ignored value is also that of one of so many classes."""
        if not isinstance(self.ignore, int) or isinstance(self.ignore, bool):
            raise InputError(f"ignore_index={self.ignore!r} is no value of a label map; 0 to {LARGEST} are")
        chosen = {new for new in self._chosen.values() if new >= 0}
        if self.label_map and len(chosen) != classes:
            raise InputError(f"{classes} classes were chosen, of which {classes - len(chosen)} stand there twice")
        _, last = self.range(classes)
        if not last < self.ignore <= LARGEST:
            raise InputError(
                f"ignore_index={self.ignore} cannot be ignored: values up to {last} are classes or 0; it must be "
                f"beyond them, up to {LARGEST}" + ("" if self.ignore else ", and reduce_zero_label=True ignores 0")
            )

    def range(self, classes: int) -> tuple[int, int]:
        """The first and last value that a file may have for so many (chosen) classes, besides what is ignored."""
        stored = len(self.label_map) if self.label_map else classes
        return int(self.reduce_zero_label), stored + int(self.reduce_zero_label) - 1

    def classes_of(self, values: np.ndarray) -> np.ndarray:
        """Values of a file, from 0 to 65535, as classes, of the smallest unsigned type that holds them.

        What stands for no class stays beyond the classes, for the metric to name (`values_of` gives it back).
        """
        if values.dtype in (np.uint8, np.uint16):
            return narrow(self._class_of(np.arange(256**values.dtype.itemsize)))[values]
        return narrow(self._class_of(np.asarray(values, np.int64)))

    def values_of(self, classes: np.ndarray) -> np.ndarray:
        """The inverse: classes as the values that the files have for them."""
        classes = np.asarray(classes, np.int64)
        values = classes
        if self.label_map:
            old = {new: old for old, new in self._chosen.items() if new >= 0}
            table = np.arange(max(old, default=-1) + 1)
            table[list(old)] = list(old.values())
            values = _looked_up(table, values)
        values = values + int(self.reduce_zero_label)
        values = np.where(classes >= MISFIT, classes - MISFIT, values)
        return narrow(np.where(classes == self.ignore, self.ignore, values))

    def fault(self, path: str, value: int, pixels: int, classes: int) -> str:
        """In words: the file has a value, in so many pixels, that stands for none of the classes."""
        first, last = self.range(classes)
        chosen = f" ({classes} of them chosen)" if self.label_map else ""
        shifted = "; where labels begin at 1, set reduce_zero_label=True" if not first and value == last + 1 else ""
        ignored = f"0 and {self.ignore} are" if first else f"{self.ignore} is"
        return (
            f"the label map {path} has the value {value} ({pixels} pixel{'s' * (pixels != 1)}); the classes are "
            f"{first} to {last}{chosen}, and {ignored} ignored{shifted}"
        )

    @cached_property
    def _chosen(self) -> dict[int, int]:
        """`label_map` with -1 for what was not chosen; 255 says so too, unless so many were chosen."""
        numbers = set((self.label_map or {}).values())
        others = {self.ignore, *([IGNORE] if len(numbers - {IGNORE}) < IGNORE else [])}
        return {old: -1 if new in others else new for old, new in (self.label_map or {}).items()}

    def _class_of(self, values: np.ndarray) -> np.ndarray:
        ignored, classes = values == self.ignore, values
        if self.reduce_zero_label:
            ignored = ignored | (values == 0)
            classes = values - 1
        if self._chosen:
            table = np.arange(max(self._chosen) + 1)
            table[list(self._chosen)] = list(self._chosen.values())
            classes = _looked_up(table, classes)
            ignored = ignored | (classes < 0)
        classes = np.where(classes == self.ignore, MISFIT + values, classes)
        return np.where(ignored, self.ignore, classes)


def _looked_up(table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The table's entry for the numbers that it has, and the others as they are."""
    inside = (numbers >= 0) & (numbers < len(table))
    return np.where(inside, table[np.where(inside, numbers, 0)], numbers)


def as_picture(values: np.ndarray) -> Image.Image:
    """Values (H, W) uint8 or uint16 as a grey picture of that depth, which can be resized and written as PNG.

    Raises InputError for larger ones, for which PNG has no room.
    """
    values = narrow(values) if values.dtype not in (np.uint8, np.uint16) else values
    if values.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a label map with the value {values.max()} cannot be written: 16-bit PNG ends at {LARGEST}")
    return Image.fromarray(values)
