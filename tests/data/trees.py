"""Tiny made trees in the real layout of each benchmark."""

from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from PIL import Image

import sclip_seg  # noqa: F401  registers our datasets

CONFIGS = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"
BENCHMARKS = (
    "voc21",
    "voc20",
    "context60",
    "context59",
    "coco_object",
    "coco_stuff164k",
    "coco_stuff10k",
    "cityscapes",
    "ade20k",
)
# Values in the label files: classes as stored, and 255 where the benchmark leaves pixels unlabelled that way.
STORED = {
    "voc21": [*range(21), 255],
    "voc20": [*range(21), 255],
    "context60": [*range(60)],
    "context59": [*range(60)],
    "coco_object": [*range(81)],
    "coco_stuff164k": [*range(171), 255],
    "coco_stuff10k": [*range(172)],
    "cityscapes": [*range(19), 255],
    "ade20k": [*range(151)],
}
ZERO_IGNORED = {"voc20", "context59", "coco_stuff10k", "ade20k"}
CELL = 6  # pixels; labels are square cells that run through all the values


def cells(methods: list[str], datasets: list[str]) -> list[tuple[str, str]]:
    """Every method with each of the nine benchmarks and the toy world; each further dataset with one, in turn."""
    crossed = {*BENCHMARKS, "toy", "toy_stuff"}
    further = [dataset for dataset in datasets if dataset not in crossed]
    pairs = [(method, dataset) for method in methods for dataset in datasets if dataset in crossed]
    return pairs + list(zip(cycle(methods), further, strict=False))


def dataset_settings(name: str, data: Path) -> tuple[dict, dict]:
    """`dataset` and `settings` of a benchmark's file, with the folder `data` in the place of `data/`."""
    config = Config.fromfile(CONFIGS / f"{name}.py")
    dataset = config.dataset.to_dict()
    dataset["data_root"] = dataset["data_root"].replace("data/", f"{data}/", 1)
    return dataset, config.settings.to_dict()


def make_tree(
    name: str, data: Path, count: int = 3, size: tuple[int, int] = (48, 64), seed: int = 0
) -> list[np.ndarray]:
    """Writes `count` pictures and labels, each of another size, under the folder that stands for `data/`.

    Returns the labels (H, W) uint8 as they are evaluated (255 = ignored), in the order of the dataset. Beside
    them lie the files that the real download has there too and that no run may take for pictures or labels.
    """
    dataset, _ = dataset_settings(name, data)
    root = Path(dataset["data_root"])
    pictures = root / dataset["data_prefix"]["img_path"]
    labels = root / dataset["data_prefix"]["seg_map_path"]
    random = np.random.default_rng(seed)
    values = random.permutation(np.array(STORED[name], np.uint8))
    evaluated = []
    start = 0  # every picture goes on where the last one stopped
    names = [_name(name, index) for index in range(count)]
    for index, stem in enumerate(names):
        height, width = size[0] + 5 * index, size[1] + 9 * index
        rows, columns = -(-height // CELL), -(-width // CELL)
        cells = np.resize(np.roll(values, -start), (rows, columns))
        start += rows * columns
        label = cells.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
        _save(pictures / (stem + _picture_suffix(name)), _picture(random, height, width))
        _save_label(name, labels, stem, label)
        evaluated.append(label - np.uint8(1) if name in ZERO_IGNORED else label)
        if name in ZERO_IGNORED:
            evaluated[-1][label == 255] = 255  # 0 - 1 has wrapped to 255 as well
    if "ann_file" in dataset:
        _save(pictures / "unlisted.jpg", _picture(random, *size))
        list_file = root / dataset["ann_file"]
        list_file.parent.mkdir(parents=True, exist_ok=True)
        list_file.write_text("".join(f"{stem}\n" for stem in names))
    return evaluated


def _name(name: str, index: int) -> str:
    """The name of a picture as the benchmark writes it, in its order."""
    if name.startswith("voc"):
        return f"2007_{index:06d}"
    if name.startswith("context"):
        return f"2008_{index:06d}"
    if name == "coco_stuff10k":
        return f"COCO_train2014_{index:012d}"
    if name == "cityscapes":
        city = ("frankfurt", "lindau")[index % 2 if index < 2 else 1]
        return f"{city}/{city}_{index:06d}_000019"
    if name == "ade20k":
        return f"ADE_val_{index:08d}"
    return f"{index:012d}"


def _picture_suffix(name: str) -> str:
    return "_leftImg8bit.png" if name == "cityscapes" else ".jpg"


def _save_label(name: str, folder: Path, stem: str, label: np.ndarray) -> None:
    if name == "cityscapes":
        _save(folder / f"{stem}_gtFine_labelTrainIds.png", label)
        _save(folder / f"{stem}_gtFine_labelIds.png", label)
    elif name.startswith("coco_stuff"):
        _save(folder / f"{stem}_labelTrainIds.png", label)
        if name == "coco_stuff164k":
            _save(folder / f"{stem}.png", label)  # before the conversion
    elif name == "coco_object":
        _save(folder / f"{stem}_instanceTrainIds.png", label)
    else:
        _save(folder / f"{stem}.png", label, has_palette=name.startswith("voc"))


def _picture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) smooth random colours."""
    coarse = random.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _save(path: Path, pixels: np.ndarray, has_palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if has_palette:  # VOC's labels are colour-indexed
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(path)
