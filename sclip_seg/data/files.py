"""Which files a dataset is made of: those of its folders, or those that its list names."""

import os
from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset

from ..errors import InputError
from ..handed_in import at_home, composed, existing, read_text


def as_suffixes(suffix: str | Sequence[str]) -> tuple[str, ...]:
    """One suffix or several, as several; the longest first, since a file belongs to the longest that fits."""
    return (suffix,) if isinstance(suffix, str) else tuple(sorted(suffix, key=len, reverse=True))


def find_files(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files that end in one of the suffixes, in subfolders too, relative to the folder, in no order.

    Hidden files and folders (.git, .ipynb_checkpoints) are left out.
    """
    found, prefixes = [], [""]
    while prefixes:
        prefix = prefixes.pop()
        for entry in os.scandir(os.path.join(folder, prefix)):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                prefixes.append(prefix + entry.name + "/")
            elif entry.name.endswith(suffixes):
                found.append(prefix + entry.name)
    return found


def find_pictures(pictures: str, suffixes: tuple[str, ...], labels: str, label_suffix: str) -> dict[str, str]:
    """NAME, in NFC, -> path relative to the picture folder. Labels that lie in the same folder are left out.

    Raises InputError when two pictures share a NAME, and so a label.
    """
    together = os.path.normpath(pictures) == os.path.normpath(labels)
    found: dict[str, str] = {}
    for path in find_files(pictures, suffixes):
        if together and path.endswith(label_suffix):
            continue
        name = composed(next(path.removesuffix(suffix) for suffix in suffixes if path.endswith(suffix)))
        if name in found:
            raise InputError(
                f"pictures {found[name]} and {path} in {pictures} would share the label "
                f"{name}{label_suffix}: rename one, or name a single picture suffix"
            )
        found[name] = path
    return found


def label_path(labels: str, name: str, label_suffix: str) -> str:
    """The label map of a NAME, in the form (NFC or NFD) in which it lies there."""
    path = os.path.join(labels, name + label_suffix)
    return path if name.isascii() else str(existing(path))


def read_list(ann_file: str) -> list[str]:
    """The NAMEs in a list file, one a line, in NFC. Raises InputError at an empty line and for what is no text."""
    lines = read_text(ann_file, "list file").removesuffix("\n")
    names = [composed(line.strip()) for line in lines.split("\n")] if lines else []
    if "" in names:
        raise InputError(f"list file {ann_file}, line {names.index('') + 1}: empty line; delete it")
    return names


def load_data_list(dataset: BaseSegDataset) -> list[dict]:
    """Pictures and their labels, in the list file's order or else sorted by path: mmseg's rule for its own datasets.

    They are found as `check_dataset` finds them: any of several picture suffixes, nothing hidden, lists of any
    encoding, `~` for the home folder.
    """
    dataset.data_prefix = {key: at_home(path) for key, path in dataset.data_prefix.items()}
    dataset.ann_file = at_home(dataset.ann_file)
    pictures, labels = dataset.data_prefix["img_path"], dataset.data_prefix.get("seg_map_path")
    suffixes = as_suffixes(getattr(dataset, "picture_suffixes", dataset.img_suffix))
    found = find_pictures(pictures, suffixes, labels or "", dataset.seg_map_suffix)
    is_listed = dataset.ann_file and not os.path.isdir(dataset.ann_file)
    names = read_list(dataset.ann_file) if is_listed else sorted(found, key=found.__getitem__)
    absent = [name for name in names if name not in found]
    if absent and hasattr(dataset, "picture_suffixes"):  # else the file that would be it is known by its name
        raise InputError(f"list file {dataset.ann_file}: no picture {absent[0]} in {pictures}")
    meta = dataset.metainfo
    more = {"ignore_index": meta["ignore_index"]} if "ignore_index" in meta else {}
    more |= {"bands": dataset.bands} if getattr(dataset, "bands", None) else {}
    return [
        {
            "img_path": os.path.join(pictures, found.get(name, name + suffixes[0])),
            **({} if labels is None else {"seg_map_path": label_path(labels, name, dataset.seg_map_suffix)}),
            "label_map": dataset.label_map,
            "reduce_zero_label": dataset.reduce_zero_label,
            **more,
            "seg_fields": [],
        }
        for name in names
    ]
