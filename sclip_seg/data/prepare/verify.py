"""A dataset looked through from its folders to its pixels, before it is trusted with a score."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import ExifTags, Image

from ...bars import Bar
from ...errors import InputError
from ..bands import read_bands
from ..check import Layout, check_dataset
from ..datasets import build_dataset
from ..digest import digest_of
from ..label_files import read_labels
from ..labels import LabelRule
from ..notes import notes_on

TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides


@dataclass
class Findings:
    """What a look through a dataset has brought to light.

    `pixels` counts class by class, the ignored ones last; `good` are the (picture, label) paths without a fault;
    `bands` are those of the pictures that are red, green and blue, where the dataset says it; `notes` say what is no
    fault but cannot be meant; `digest` is that of the data looked at, as a run on them has it in its signature, every
    file read for it.
    """

    classes: tuple[str, ...]
    palette: list[list[int]]
    rule: LabelRule
    pixels: np.ndarray
    looked_at: int = 0
    digest: str = ""
    faults: list[str] = field(default_factory=list)
    good: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bands: Sequence[int] | None = None

    def summary(self) -> str:
        """One paragraph for people."""
        labelled, total = self.pixels[:-1], max(1, self.pixels.sum())
        absent = [name for name, count in zip(self.classes, labelled, strict=True) if not count]
        names = f" (without {', '.join(absent[:8])}{', ...' if len(absent) > 8 else ''})" if absent else ""
        return (
            f"{self.looked_at} pictures looked at, {len(self.good)} of them without a fault; "
            f"{len(self.classes) - len(absent)} of {len(self.classes)} classes occur{names}; "
            f"{100 * self.pixels[-1] / total:.1f} % of the pixels are ignored; data digest {self.digest}"
        )


def verify(dataset: dict, expected: int | None = None, first: int | None = None) -> Findings:
    """Tree, count, and of each picture (or the first ones): that it opens, and its label with it.

    Args:
        dataset: a dataset config.
        expected: the number of pictures, None for any.

    Raises:
        InputError: where there is nothing to look through, e.g. without a folder.
    """
    init_default_scope("mmseg")
    faults = []
    try:
        check_dataset(dataset)
    except InputError as error:
        if not _has_pairs(dataset):
            raise
        faults.append(str(error))
    built = build_dataset(dataset)
    classes = built.metainfo["classes"]
    pixels = np.zeros(len(classes) + 1, np.int64)
    findings = Findings(classes, built.metainfo["palette"], LabelRule.of(built.metainfo), pixels, faults=faults)
    findings.bands = getattr(built, "bands", None)
    if expected is not None and len(built) != expected:
        faults.append(f"there are {len(built)} pictures, the benchmark has {expected}")
    for picture, label in Bar(list(_pairs(built))[:first], desc="verifying", unit="picture"):
        findings.looked_at += 1
        if Path(picture).is_file() and Path(label).is_file():  # else among the faults already
            fault = _look(picture, label, findings)
            faults.extend([fault] if fault else [])
            findings.good.extend([] if fault else [(picture, label)])
    partial = bool(faults) or findings.looked_at < len(built)
    findings.notes = notes_on(built.metainfo, pixels[:-1], None, [picture for picture, _ in findings.good], partial)
    findings.digest = digest_of({**dataset, **({"indices": first} if first else {})}, believe=False)
    return findings


def _has_pairs(dataset: dict) -> bool:
    """Whether any picture has its label, so that it is worth while to look on."""
    try:
        layout = Layout.of(dataset)
        layout.check_present()
        init_default_scope("mmseg")
        return any(Path(label).is_file() for _, label in _pairs(build_dataset(dataset)))
    except InputError:
        return False


def _pairs(built: BaseSegDataset) -> Iterator[tuple[str, str]]:
    for index in range(len(built)):
        info = built.get_data_info(index)
        yield info["img_path"], info["seg_map_path"]


def _look(picture: str, label: str, findings: Findings) -> str:
    """What is wrong with a picture or its label, "" for nothing; counts the label's pixels."""
    try:
        size = read_bands(picture, findings.bands).shape[:2] if findings.bands else _size_of(picture)
        labels = read_labels(label)
    except InputError as error:
        return str(error)
    if labels.shape != size:
        sides = [f"{height} x {width}" for height, width in (size, labels.shape)]
        return f"the picture {picture} is {sides[0]} (height x width) and its label {label} is {sides[1]}"
    counts = np.bincount(labels.ravel())
    values = np.flatnonzero(counts)
    counts = counts[values]
    classes, known = findings.rule.classes_of(values), len(findings.classes)
    is_ignored = classes == findings.rule.ignore
    odd = np.flatnonzero(~is_ignored & (classes >= known))
    if len(odd):
        return findings.rule.fault(label, int(values[odd[0]]), int(counts[odd[0]]), known)
    np.add.at(findings.pixels, np.where(is_ignored, known, classes), counts)
    return ""


def _size_of(path: str) -> tuple[int, int]:
    """Height and width, turned as EXIF says, after every pixel has been decoded. Raises InputError."""
    try:
        with Image.open(path) as image:
            image.load()
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
    except Exception as error:  # the decoders raise what they like
        reason = "it is empty" if not Path(path).stat().st_size else str(error) or type(error).__name__
        raise InputError(f"the picture {path} cannot be read: {reason}") from error
    return (width, height) if turned else (height, width)
