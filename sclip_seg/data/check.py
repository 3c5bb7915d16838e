"""What is wrong with a dataset's folders, found before a run and without opening a picture."""

import difflib
import inspect
import os
from collections.abc import Collection
from dataclasses import dataclass

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..errors import InputError
from ..handed_in import at_home, composed
from .datasets import FolderDataset
from .files import as_suffixes, find_files, find_pictures, read_list


def check_dataset(config: dict) -> int:
    """The number of pictures of a dataset config `dict(type=..., data_root=..., ...)`.

    Raises InputError for an unknown type or key, a missing or empty folder or list file (with the expected
    tree), pictures without labels, labels without pictures, and listed pictures that are not there. `indices`
    is not looked at: the whole dataset is checked and counted.
    """
    layout = Layout.of(config)
    layout.check_present()
    pictures = find_pictures(layout.pictures, layout.picture_suffixes, layout.labels, layout.label_suffix)
    if not pictures:
        layout.refuse_empty("picture", layout.pictures, layout.picture_suffixes)
    files = find_files(layout.labels, (layout.label_suffix,))
    if not files:
        layout.refuse_empty("label", layout.labels, (layout.label_suffix,))
    labels = {composed(path.removesuffix(layout.label_suffix)) for path in files}
    if layout.list_file:
        names = layout.read_names(pictures)
        layout.check_pairs(set(names), labels & set(names))  # a list narrows the labels too
        return len(names)
    layout.check_pairs(set(pictures), labels)
    return len(pictures)


@dataclass(frozen=True)
class Layout:
    """Where a dataset's files are: pictures NAME + one of picture_suffixes, labels NAME + label_suffix.

    `pictures`, `labels` and `list_file` ("" for none) are paths that begin with `root`, unless absolute.
    """

    root: str
    pictures: str
    picture_suffixes: tuple[str, ...]
    labels: str
    label_suffix: str
    list_file: str

    @classmethod
    def of(cls, config: dict) -> "Layout":
        """Read from a config and, for keys left out, from the defaults of its class."""
        dataset_class = _dataset_class(config)
        keys = _keys(dataset_class, config)
        if issubclass(dataset_class, FolderDataset):
            prefix = {"img_path": keys["pictures"], "seg_map_path": keys["labels"]}
            picture_suffix, label_suffix = keys["picture_suffix"], keys["label_suffix"]
        else:
            prefix = keys["data_prefix"]
            picture_suffix, label_suffix = keys["img_suffix"], keys["seg_map_suffix"]
        absent = {"img_path", "seg_map_path"} - prefix.keys()
        if absent:
            raise InputError(f"dataset {dataset_class.__name__}: data_prefix lacks {', '.join(sorted(absent))}")
        root = at_home(keys["data_root"] or "")
        return cls(
            root=root or ".",
            pictures=at_home(os.path.join(root, prefix["img_path"])),
            picture_suffixes=as_suffixes(picture_suffix),
            labels=at_home(os.path.join(root, prefix["seg_map_path"])),
            label_suffix=label_suffix,
            list_file=at_home(os.path.join(root, keys["ann_file"])) if keys["ann_file"] else "",
        )

    def tree(self) -> str:
        """The expected files, for people."""
        rows = [
            (os.path.join(self.pictures, "NAME" + "|".join(self.picture_suffixes)), "pictures"),
            (os.path.join(self.labels, "NAME" + self.label_suffix), "labels"),
        ]
        if self.list_file:
            rows.append((self.list_file, "one NAME a line"))
        inner = [(os.path.relpath(path, self.root), what) for path, what in rows]
        width = max(len(path) for path, _ in inner)
        lines = [f"    {path:{width}}  {what}" for path, what in inner]
        return "\n".join(["expected (data/README.md says where to get it):", f"  {self.root}/", *lines])

    def check_present(self) -> None:
        """Raises InputError for the first folder or list file that is missing."""
        places = [
            ("data folder", self.root, os.path.isdir),
            ("picture folder", self.pictures, os.path.isdir),
            ("label folder", self.labels, os.path.isdir),
            ("list file", self.list_file, os.path.isfile),
        ]
        for what, path, is_present in places:
            if path and not is_present(path):
                where = "" if os.path.isabs(path) else f" (in the working folder {os.getcwd()})"
                raise InputError(f"{what} {path} is missing{where}; {self.tree()}")

    def refuse_empty(self, what: str, folder: str, suffixes: tuple[str, ...]) -> None:
        """Raises InputError: no file in this folder ends in a suffix; says what is there instead."""
        others = sorted(find_files(folder, ("",)))
        there = f"it has {_some(others, 'other file')}" if others else "it is empty"
        raise InputError(f"no {what} {' or '.join(suffixes)} in {folder}: {there}; {self.tree()}")

    def read_names(self, pictures: Collection[str]) -> list[str]:
        """The NAMEs of the list file. Raises InputError for an empty list or absent pictures."""
        names = read_list(self.list_file)
        if not names:
            raise InputError(f"list file {self.list_file} is empty: it has one NAME a line; {self.tree()}")
        absent = [name for name in names if name not in pictures]
        if absent:
            raise InputError(
                f"list file {self.list_file} names {_some(absent, 'picture')}: not in {self.pictures} "
                f"with {' or '.join(self.picture_suffixes)} behind the name"
            )
        return names

    def check_pairs(self, pictures: set[str], labels: set[str]) -> None:
        """Raises InputError where a picture has no label or a label no picture."""
        faults = []
        if pictures - labels:
            faults.append(
                f"{_some(sorted(pictures - labels), 'picture')} of {len(pictures)} without label "
                f"(NAME{self.label_suffix} in {self.labels})"
            )
        if labels - pictures:
            faults.append(
                f"{_some(sorted(labels - pictures), 'label')} of {len(labels)} without picture "
                f"(NAME{'|'.join(self.picture_suffixes)} in {self.pictures})"
            )
        if faults:
            raise InputError("; ".join(faults))


def _dataset_class(config: dict) -> type[BaseSegDataset]:
    kind = config.get("type")
    found = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, BaseSegDataset)):
        near = difflib.get_close_matches(str(kind), DATASETS.module_dict)
        advice = f"; near: {', '.join(near)}" if near else ""
        raise InputError(f"no segmentation dataset of type {kind!r}{advice}")
    return found


def _keys(dataset_class: type[BaseSegDataset], config: dict) -> dict:
    """The config's values over the class's defaults. Raises InputError where calling the class would fail."""
    keys: dict = {}
    for ancestor in dataset_class.__mro__:
        parameters = inspect.signature(ancestor.__init__).parameters.values()
        for parameter in parameters:
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self":
                keys.setdefault(parameter.name, parameter.default)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break  # what an ancestor takes beyond this is not handed on
    name = dataset_class.__name__
    for key in config.keys() - keys.keys() - {"type"}:
        near = difflib.get_close_matches(key, keys, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(keys)}"
        raise InputError(f"dataset {name} has no key {key!r}; {advice}")
    keys |= {key: value for key, value in config.items() if key != "type"}
    absent = [key for key, value in keys.items() if value is inspect.Parameter.empty]
    if absent:
        raise InputError(f"dataset {name} lacks {', '.join(absent)}")
    return keys


def _some(names: list[str], noun: str) -> str:
    """'5 pictures (a, b, c, ...)'."""
    return (
        f"{len(names)} {noun}{'s' if len(names) > 1 else ''} "
        f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    )
