"""The two benchmarks that mmseg 1.2 has no class for, and a dataset of one's own by config alone.

VOC21, Context, COCO-Stuff, Cityscapes and ADE20K are mmseg's own classes.
"""

import os
from collections.abc import Callable, Sequence
from typing import ClassVar

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset, COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from sclip_seg.errors import InputError
from sclip_seg.settings import Count, Natural
from sclip_seg.vocabulary import Vocabulary


def make_palette(count: int) -> list[list[int]]:
    """(count, 3) RGB colours far from each other and from black and white, the same ones every time.

    Each is the one of a 9 x 9 x 9 grid that lies farthest, in CIE Lab, from those already taken.
    """
    steps = np.linspace(0, 1, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = cv2.cvtColor(grid[None], cv2.COLOR_RGB2LAB)[0]
    black, white = 0, len(grid) - 1
    distance = np.minimum(*(np.linalg.norm(lab - lab[taken], axis=1) for taken in (black, white)))
    palette = []
    for _ in range(count):
        taken = int(distance.argmax())
        palette.append([int(value) for value in np.rint(grid[taken] * 255)])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[taken], axis=1))
    return palette


@DATASETS.register_module()
class PascalVOC20Dataset(BaseSegDataset):
    """PASCAL VOC 2012 without its background (20 classes): label 0 is ignored, label c is class c - 1."""

    METAINFO: ClassVar[dict] = {
        "classes": PascalVOCDataset.METAINFO["classes"][1:],
        "palette": PascalVOCDataset.METAINFO["palette"][1:],
    }

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str],
        ann_file: str,
        img_suffix: str = ".jpg",
        seg_map_suffix: str = ".png",
        indices: Count | Sequence[Natural] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=True,
            indices=indices,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
        )


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """COCO-Object: background (0) and the 80 things of COCO, from COCO-Stuff's labels (data/README.md).

    Everything that is no thing is background, unlabelled pixels too, so nothing is ignored. The label suffix
    is that of the published converter.
    """

    METAINFO: ClassVar[dict] = {
        "classes": ("background", *COCOStuffDataset.METAINFO["classes"][:80]),
        "palette": [[0, 0, 0], *make_palette(80)],  # COCO-Stuff's own gives several things one colour
    }

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str],
        ann_file: str = "",
        img_suffix: str = ".jpg",
        seg_map_suffix: str = "_instanceTrainIds.png",
        indices: Count | Sequence[Natural] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            indices=indices,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
        )


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """A dataset of one's own: a folder of pictures, a folder of labels, and a vocabulary.

    The picture NAME + picture_suffix (any of several) belongs to the label NAME + label_suffix; NAME may hold
    subfolders. Labels are 8-bit: value i is class i, 255 is ignored; with `reduce_zero_label`, 0 is ignored
    too and value i is class i - 1. `ann_file` lists the NAMEs of a split, one a line. `vocabulary` is what
    `Vocabulary.load` takes; each class is named by its first query, and the class of index `background` (None
    for none) "background". Raises InputError.
    """

    def __init__(
        self,
        data_root: str,
        pictures: str,
        labels: str,
        vocabulary: str | Sequence[str | Sequence[str]],
        picture_suffix: str | Sequence[str] = ".jpg",
        label_suffix: str = ".png",
        ann_file: str = "",
        reduce_zero_label: bool = False,
        background: Natural | None = None,
        indices: Count | Sequence[Natural] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        names = list(Vocabulary.load(vocabulary).names)
        if background is not None:
            names[background] = "background"
        self.picture_suffixes = as_suffixes(picture_suffix)
        super().__init__(
            data_root=data_root,
            data_prefix={"img_path": pictures, "seg_map_path": labels},
            ann_file=ann_file,
            img_suffix=self.picture_suffixes[0],
            seg_map_suffix=label_suffix,
            metainfo={"classes": tuple(names), "palette": make_palette(len(names))},
            reduce_zero_label=reduce_zero_label,
            indices=indices,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """mmseg's rule for several picture suffixes: the list file's order, or else sorted by path."""
        pictures, labels = self.data_prefix["img_path"], self.data_prefix["seg_map_path"]
        found = find_pictures(pictures, self.picture_suffixes, labels, self.seg_map_suffix)
        names = read_list(self.ann_file) if self.ann_file else sorted(found, key=found.__getitem__)
        absent = [name for name in names if name not in found]
        if absent:
            raise InputError(f"list file {self.ann_file}: no picture {absent[0]} in {pictures}")
        return [
            {
                "img_path": os.path.join(pictures, found[name]),
                "seg_map_path": os.path.join(labels, name + self.seg_map_suffix),
                "label_map": None,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for name in names
        ]


def as_suffixes(suffix: str | Sequence[str]) -> tuple[str, ...]:
    """One suffix or several, as several; the longest first, since a file belongs to the longest that fits."""
    return (suffix,) if isinstance(suffix, str) else tuple(sorted(suffix, key=len, reverse=True))


def find_files(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files that end in one of the suffixes, in subfolders too, relative to the folder, in no order.

    Hidden files are left out, as mmengine leaves them out.
    """
    found, prefixes = [], [""]
    while prefixes:
        prefix = prefixes.pop()
        for entry in os.scandir(os.path.join(folder, prefix)):
            if entry.is_dir():
                prefixes.append(prefix + entry.name + "/")
            elif entry.name.endswith(suffixes) and not entry.name.startswith("."):
                found.append(prefix + entry.name)
    return found


def find_pictures(pictures: str, suffixes: tuple[str, ...], labels: str, label_suffix: str) -> dict[str, str]:
    """NAME -> path relative to the picture folder. Where labels lie in the same folder, they are left out.

    Raises InputError when two pictures share a NAME, and so a label.
    """
    together = os.path.normpath(pictures) == os.path.normpath(labels)
    found: dict[str, str] = {}
    for path in find_files(pictures, suffixes):
        if together and path.endswith(label_suffix):
            continue
        name = next(path.removesuffix(suffix) for suffix in suffixes if path.endswith(suffix))
        if name in found:
            raise InputError(
                f"pictures {found[name]} and {path} in {pictures} would share the label "
                f"{name}{label_suffix}: rename one, or name a single picture suffix"
            )
        found[name] = path
    return found


def read_list(ann_file: str) -> list[str]:
    """The NAMEs in a list file, one a line. Raises InputError at an empty line."""
    with open(ann_file, encoding="utf-8") as lines:
        names = [line.strip() for line in lines]
    if "" in names:
        raise InputError(f"list file {ann_file}, line {names.index('') + 1}: empty line; delete it")
    return names
