"""Where a result's pictures and labels lie, by the config in its file, which is data of others.

Nothing is built from that config: of its dataset only folders, suffixes and the rule for label 0 are read, each
checked to be plain text, and the type must be one of `TYPES`. Class names are those of the result's own table. What a
config says about pipelines, list files and vocabularies is not read at all.

A report shows pictures, and a page is passed on: a path that stands in a file of others must not bring a user's other
pictures into it. So such a path is followed only into the folders that the user named with `--data` and into the
working folder (`Allowed`), to regular files of up to `LARGEST` bytes, which are opened as pictures and nothing else.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmseg.datasets import (
    ADE20KDataset,
    BaseSegDataset,
    CityscapesDataset,
    COCOStuffDataset,
    PascalContextDataset,
    PascalContextDataset59,
    PascalVOCDataset,
)

from ...data.check import Layout
from ...data.datasets import COCOObjectDataset, FolderDataset, PascalVOC20Dataset
from ...data.label_files import LARGEST as LARGEST_VALUE
from ...data.label_files import read_labels
from ...data.labels import LabelRule, default_ignore
from ...drawing import make_palette
from ...errors import InputError
from .gather import Result

LARGEST = 1 << 28  # bytes of a picture or a label map
MOST_PIXELS = 1 << 26  # of a label map
# Each with whether its labels leave out 0 where the config does not say so.
TYPES: dict[type[BaseSegDataset], bool] = {
    PascalVOCDataset: False,
    PascalVOC20Dataset: True,
    PascalContextDataset: False,
    PascalContextDataset59: True,
    COCOObjectDataset: False,
    COCOStuffDataset: False,
    CityscapesDataset: False,
    ADE20KDataset: True,
    FolderDataset: False,
}
NAMES = {kind.__name__: kind for kind in TYPES}
TEXTS = ("data_root", "pictures", "labels", "img_suffix", "seg_map_suffix", "label_suffix")


@dataclass(frozen=True)
class Allowed:
    """Where a path from a file of others may lead: into folders that the user named, or into the working folder.

    What is linked from a named folder counts as named. Links from elsewhere in the working folder do not, since an
    unpacked archive may have brought them.
    """

    named: Sequence[Path] = (Path("data"),)
    here: Path = Path(".")

    def holds(self, path: str | Path) -> bool:
        """Whether the path leads to one of the folders or below."""
        written, real = os.path.abspath(path), os.path.realpath(path)
        as_named = any(_within(written, folder) for folder in map(os.path.abspath, self.named))
        return as_named or any(_within(real, folder) for folder in map(os.path.realpath, (*self.named, self.here)))


def _within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


@dataclass(frozen=True)
class Places:
    """Picture and label of a NAME are NAME + suffix in two folders.

    `rule`: how values of label maps become classes; in it the new numbers, where a run took some of the classes only.
    """

    pictures: str
    picture_suffixes: tuple[str, ...]
    labels: str
    label_suffix: str
    rule: LabelRule
    classes: tuple[str, ...]
    palette: Sequence[Sequence[int]]
    allowed: Allowed

    def of(self, name: str) -> tuple[Path, Path] | None:
        """Picture and label for a label map of sclip-seg test, whose name is the picture's, ending in .png.

        None where they are not both there, or are links to elsewhere.
        """
        for suffix in self.picture_suffixes:
            file = name.removesuffix(".png") + Path(f"x{suffix}").suffix
            picture, label = (
                Path(self.pictures, file),
                Path(self.labels, file.removesuffix(suffix) + self.label_suffix),
            )
            if file.endswith(suffix) and all(os.path.isfile(p) and self.allowed.holds(p) for p in (picture, label)):
                return picture, label
        return None

    def labels_in(self, path: Path) -> np.ndarray:
        """The classes (H, W) in a label map. Raises InputError."""
        labels = read_labels(str(path))
        if labels.size > MOST_PIXELS:
            raise InputError(f"the label map {path} has {labels.size} pixels, too many for a report")
        return self.rule.classes_of(labels)


def places(result: Result, allowed: Allowed) -> Places:
    """Of a result's dataset. Raises InputError where the config says nothing plain, or leads elsewhere."""
    keys = _plain(result.config)
    kind = NAMES.get(keys.pop("type"))
    if kind is None:
        raise InputError(f"its type is none of {', '.join(NAMES)}")
    zero, ignored = keys.pop("reduce_zero_label", TYPES[kind]), keys.pop("ignore_index", None)
    layout = Layout.of({**keys, "type": kind, **({"vocabulary": ()} if kind is FolderDataset else {})})
    folders = [os.path.normpath(folder) for folder in (layout.pictures, layout.labels)]
    for folder in folders:
        if not allowed.holds(folder):
            raise InputError(
                f"they lie in {folder}, as only {result.path} says; name a folder around it with --data to show them"
            )
        if not os.path.isdir(folder):
            raise InputError(f"there is no folder {folder}")
    classes = tuple(result.iou)
    known = getattr(kind, "METAINFO", {})
    colours = dict(zip(known.get("classes", ()), known.get("palette", ()), strict=False))
    is_known = colours and colours.keys() >= set(classes)
    palette = [colours[name] for name in classes] if is_known else make_palette(len(classes))
    chosen = None
    if is_known and classes != tuple(known["classes"]):
        chosen = {c: classes.index(name) if name in classes else -1 for c, name in enumerate(known["classes"])}
    rule = LabelRule(zero, chosen, default_ignore(len(classes) + zero) if ignored is None else ignored)
    return Places(
        *(folders[0], layout.picture_suffixes, folders[1], layout.label_suffix, rule),
        *(classes, palette, allowed),
    )


def saved_to(result: Result) -> Path | None:
    """The folder that a run was told to write its label maps into, by the config in its file."""
    hooks = result.config.get("custom_hooks")
    for hook in hooks if isinstance(hooks, list) else ():
        if isinstance(hook, dict) and hook.get("type") == "SaveLabels" and is_path(hook.get("folder")):
            return Path(hook["folder"])
    return None


def is_path(value: object) -> bool:
    """A text that can be a path of this machine: no address, nothing that no file system takes."""
    if not isinstance(value, str) or "\0" in value or "://" in value or len(value) >= 4096:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # half a character
        return False
    return True


def _plain(config: dict) -> dict:
    """What is read of a dataset, each key checked; a key of another kind is left at its class's default."""
    loader = config.get("test_dataloader")
    found = loader.get("dataset") if isinstance(loader, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise InputError("its config names no dataset")
    keys = {"type": found["type"], "ann_file": ""}
    keys |= {key: found[key] for key in TEXTS if is_path(found.get(key))}
    prefix, suffix = found.get("data_prefix"), found.get("picture_suffix")
    if isinstance(prefix, dict):
        keys["data_prefix"] = {key: value for key, value in prefix.items() if is_path(value)}
    if is_path(suffix) or (isinstance(suffix, list) and suffix and all(map(is_path, suffix))):
        keys["picture_suffix"] = suffix
    suffixes = [value for key, value in keys.items() if "suffix" in key]
    if any(
        os.path.basename(end) != end for value in suffixes for end in ([value] if isinstance(value, str) else value)
    ):
        raise InputError("a suffix in its config is a path")
    if isinstance(found.get("reduce_zero_label"), bool):
        keys["reduce_zero_label"] = found["reduce_zero_label"]
    if type(found.get("ignore_index")) is int and 0 <= found["ignore_index"] <= LARGEST_VALUE:
        keys["ignore_index"] = found["ignore_index"]
    return keys
