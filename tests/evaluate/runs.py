"""Runs of `sclip-seg test` in a tiny form, what they leave, and its score counted once more."""

import itertools
import json
from pathlib import Path

import numpy as np

from sclip_seg.config import load_config
from sclip_seg.evaluate import test as tool

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
# A whole cell in half a second: a tiny tower, one template, two rows of windows.
FAST = (
    "model.backbone.arch=tiny",
    "model.backbone.pretrained=None",
    "model.templates=photo",
    "model.short_side=48",
    "model.window.crop=32",
    "model.window.stride=16",
    "model.text_cache=None",
    "test_dataloader.num_workers=0",
)
VOC = Path("data/VOCdevkit/VOC2012")
PICTURES, LABELS = VOC / "JPEGImages", VOC / "SegmentationClass"
count = itertools.count()


def run(config, *arguments, options=(), fast=FAST):
    """Exit status of `sclip-seg test configs/CONFIG ARGUMENTS`; an absolute path is taken as it is."""
    # mmengine keeps one log a name and second, and these runs take less than a second.
    name = f"experiment_name=run{next(count)}"
    return tool.main([str(CONFIGS / config), *arguments, "--cfg-options", *fast, name, *options])


def result_of(folder):
    return json.loads((Path(folder) / "result.json").read_text())


def miou(predictions, labels):
    """Mean IoU in percent, counted plainly; labels of 255 are left out, and so are classes that occur nowhere."""
    predicted = np.concatenate([p[label != 255] for p, label in zip(predictions, labels, strict=True)])
    labelled = np.concatenate([label[label != 255] for label in labels])
    classes = np.union1d(predicted, labelled)
    ious = [np.sum((predicted == c) & (labelled == c)) / np.sum((predicted == c) | (labelled == c)) for c in classes]
    return 100 * np.mean(ious)


def written(folder):
    """The files below a folder, and what is in them."""
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def cell(method, dataset=None, backbone=None, **options):
    """The config of configs/METHOD.py with the other axes and options."""
    return load_config(CONFIGS / f"{method}.py", dataset, backbone, options or None)
