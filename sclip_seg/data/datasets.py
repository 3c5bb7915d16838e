"""The two benchmarks that mmseg 1.2 has no class for, and a dataset of one's own by config alone.

VOC21, Context, COCO-Stuff, Cityscapes and ADE20K are mmseg's own classes.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from mmseg.datasets import BaseSegDataset, COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from ..drawing import make_palette
from ..errors import InputError, near
from ..settings import Count, Natural
from ..words.vocabulary import Vocabulary
from .files import as_suffixes, load_data_list
from .labels import LabelRule, LabelValue, default_ignore


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
    subfolders. In labels, of up to 16 bits, value i is class i, and `ignore_index` is ignored: 255, or 65535 where
    255 is the value of a class, unless given. With `reduce_zero_label`, 0 is ignored too and value i is class i - 1.
    `ann_file` lists the NAMEs of a split, one a line. `vocabulary` is what
    `Vocabulary.load` takes; each class is named by its first query, and the class of index `background` (None
    for none) "background". `bands` says which bands of the pictures, counted from 1, are red, green and blue;
    `classes_of_interest` are averaged in a mean of their own. Raises InputError.
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
        ignore_index: LabelValue | None = None,
        background: Natural | None = None,
        bands: tuple[Count, Count, Count] | list[Count] | None = None,
        classes_of_interest: Sequence[Natural] | None = None,
        indices: Count | Sequence[Natural] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        names = list(Vocabulary.load(vocabulary).names)
        if background is not None:
            names[background] = "background"
        self.picture_suffixes = as_suffixes(picture_suffix)
        if ignore_index is None:
            ignore_index = default_ignore(len(names) + int(reduce_zero_label))
        LabelRule(reduce_zero_label, ignore=ignore_index).check(len(names))
        if bands is not None and len(bands) != 3:
            raise InputError(f"bands={bands!r} are not three: those of red, green and blue, counted from 1")
        self.bands = bands
        interest = {} if classes_of_interest is None else {"classes_of_interest": list(classes_of_interest)}
        if interest and not set(classes_of_interest) <= set(range(len(names))):
            raise InputError(
                f"classes_of_interest={interest['classes_of_interest']} go beyond the {len(names)} classes"
            )
        super().__init__(
            data_root=data_root,
            data_prefix={"img_path": pictures, "seg_map_path": labels},
            ann_file=ann_file,
            img_suffix=self.picture_suffixes[0],
            seg_map_suffix=label_suffix,
            metainfo={
                "classes": tuple(names),
                "palette": make_palette(len(names)),
                "ignore_index": ignore_index,
                **interest,
            },
            ignore_index=ignore_index,
            reduce_zero_label=reduce_zero_label,
            indices=indices,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
        )


def build_dataset(config: dict, **more: object) -> BaseSegDataset:
    """The dataset of a config, with `more` on top; its rule of labels is one that can be meant.

    Raises InputError, also for chosen classes (`metainfo.classes`) that it does not have.
    """
    kind = DATASETS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    known = kind.METAINFO.get("classes") if isinstance(kind, type) else None
    chosen = (config.get("metainfo") or {}).get("classes")
    for name in chosen if known and isinstance(chosen, list | tuple) else ():
        if name not in known:
            raise InputError(f"{kind.__name__} has no class {name!r}{near(str(name), known)}")
    built = DATASETS.build({**config, **more})
    LabelRule.of_dataset(built)
    return built


# mmseg's own rule takes pictures of hidden folders (.ipynb_checkpoints), and names with a byte order mark in front.
BaseSegDataset.load_data_list = load_data_list
