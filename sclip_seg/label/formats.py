"""The formats by name. A format says what is written for a picture, and what for all of them at the end."""

from collections.abc import Iterator
from typing import Protocol

from ..errors import InputError
from .coco import Coco
from .found import Classes, Found
from .labelstudio import LabelStudio
from .maps import Maps, Scores
from .yolo import Yolo


class Format(Protocol):
    """How labels are written."""

    def files(self, found: Found) -> dict[str, bytes]:
        """The files of a picture, by their places in the folder."""

    def record(self, found: Found) -> dict:
        """What is kept of a picture for the file of all; nothing where there is none."""

    def whole(self, classes: Classes, records: "Records") -> dict[str, Iterator[bytes]]:
        """The files of all pictures, made of their records."""


class Records(Protocol):
    """What was kept, in the order of the pictures' names; read again by whoever goes through it."""

    def __iter__(self) -> Iterator[dict]: ...


def format_of(name: str, polygons: bool, scores: bool) -> Format:
    """Raises InputError where a library is missing."""
    if polygons and name not in ("coco", "labelstudio"):
        raise InputError(f"--polygons goes with --format coco and labelstudio, not with {name}")
    if scores and name != "npz":
        raise InputError(f"--scores goes with --format npz, not with {name}")
    if name == "coco":
        return Coco(polygons)
    if name == "labelstudio":
        return LabelStudio(polygons)
    return {"png": Maps, "npz": Scores, "yolo": Yolo}[name]()
