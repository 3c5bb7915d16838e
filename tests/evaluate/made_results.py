"""Result files as `sclip-seg test` would write them, for cells that were never run."""

import csv
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sclip_seg.config import load_config
from sclip_seg.errors import InputError
from sclip_seg.evaluate.report import command
from sclip_seg.evaluate.report.gather import gather
from sclip_seg.evaluate.report.grid import build

ROOT = Path(__file__).parents[2]
COUNTS = {"voc21": 1449, "voc20": 1449, "context60": 5104, "context59": 5104, "coco_object": 5000}
COUNTS |= {"coco_stuff164k": 5000, "coco_stuff10k": 1000, "cityscapes": 500, "ade20k": 2000}
HOSTILE = "</td><script>alert(1)</script>|<img src=x onerror=alert(2)>&amp;\"'`*_[a](b)\\{%$#~^}"


@cache
def config_of(method, dataset, backbone, options):
    """The resolved config as JSON, or one of no known method."""
    try:
        config = load_config(str(ROOT / "configs" / f"{method}.py"), dataset, backbone, dict(options) or None)
    except (InputError, OSError):
        return json.dumps({"model": {}, "dataset": {}})
    return json.dumps(config.to_dict(), default=str)


def make_result(
    method="sclip",
    dataset="voc21",
    backbone="openai_vit_b16",
    miou=50.0,
    images=None,
    images_in_dataset=None,
    vocabulary="words",
    labels="all",
    precision="fp32",
    classes=None,
    options=None,
):
    """The dict of a result file; `classes` maps names to IoUs."""
    total = images_in_dataset or COUNTS.get(dataset, 100)
    images = images or total
    counted = f"{dataset}[{images}/{total}]" if images != total else f"{dataset}[{total}]"
    fields = {
        "method": method,
        "tail": "LastBlock(attention=csa)",
        "backbone": f"{backbone}#0123",
        "act": "quickgelu",
        "positions": "sclip",
        "data": counted,
        "vocabulary": f"{vocabulary}#ab",
        "templates": "imagenet80",
        "labels": labels,
        "guides": "none",
        "precision": precision,
        "version": "0.1.0",
    }
    classes = classes or {f"class {index}": miou for index in range(5)}
    return {
        "method": method,
        "dataset": dataset,
        "miou": miou,
        "foreground_miou": miou,
        "aacc": 60.0,
        "macc": 61.0,
        "images": images,
        "images_in_dataset": total,
        "partial": images != total,
        "signature": "|".join(f"{key}:{value}" for key, value in fields.items()),
        "backbone": {"name": backbone, "arch": "ViT-B-16", "pretrained": "openai", "digest": "0123"},
        "vocabulary": {"name": vocabulary, "digest": "ab", "queries": 20},
        "templates": {"name": "imagenet80", "digest": "cd", "count": 80},
        "precision": precision,
        "device": "a machine, 2 threads",
        "processes": 1,
        "seconds_per_image": 0.123,
        "per_class": {name: {"iou": iou, "acc": iou} for name, iou in classes.items()},
        "versions": {},
        "commit": None,
        "config_digest": "ef",
        "config": json.loads(config_of(method, dataset, backbone, tuple((options or {}).items()))),
    }


def write(folder, content):
    """`folder/result.json` with a dict, a text or bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@dataclass(frozen=True)
class Figure:
    """A stand-in for `sclip_seg.evaluate.published_figures.Figure`."""

    method: str = "sclip"
    backbone: str = "openai_vit_b16"
    dataset: str = "voc21"
    miou: float = 50.0
    protocol: str = "own"
    source: str = "a table"
    variant: str | None = None
    comparable: bool = True


def grid_of(folder, figures=()):
    """The grid of the results below a folder."""
    warnings = []
    grid = build(gather([folder], warnings.append), figures, warnings.append)
    grid.warnings = warnings
    return grid


def run(*arguments):
    """Exit status of `sclip-seg report ARGUMENTS`."""
    return command.main([str(argument) for argument in arguments])


def rows_of(text):
    """Lines of a CSV file, by column."""
    return list(csv.DictReader(io.StringIO(text)))
