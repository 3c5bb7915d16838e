"""Evaluate a method on a dataset.

    python tools/test.py configs/sclip.py --dataset voc21
    python tools/test.py --list

Prints the per-class table, the mIoU and its signature, and writes result.json
beside the resolved config into the work folder. A run that was stopped is gone
on with by --resume, with the same score.
"""

import argparse
import json
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from sclip_seg.command import Parser, at_least_one, run
from sclip_seg.config import CONFIGS, choices, load_config
from sclip_seg.data_check import check_dataset
from sclip_seg.errors import InputError
from sclip_seg.files import write_atomically
from sclip_seg.options import add_options
from sclip_seg.result import (
    commit,
    config_digest,
    device_name,
    short_hash,
    signature,
    template_name,
    versions,
)
from sclip_seg.sharing import segmentor_of
from sclip_seg.vocabulary import Vocabulary


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a method's file, e.g. configs/sclip.py")
    parser.add_argument("--dataset", metavar="NAME", help="a file of configs/_base_/datasets (default: voc21)")
    parser.add_argument("--backbone", metavar="NAME", help="a file of configs/_base_/backbones")
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/METHOD/BACKBONE/DATASET")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    parser.add_argument("--show-dir", metavar="DIR", help="write picture, prediction and label side by side")
    parser.add_argument("--out", metavar="DIR", help="write predicted label maps as PNG")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only; marked in the result")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, with the same score")
    parser.add_argument("--list", action="store_true", help="list methods, datasets and backbones, and end")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.config is None and not options.list:
        parser.error("a CONFIG is needed, e.g. configs/sclip.py (--list shows what there is)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)
    if options.list:
        return run(lambda: show_choices(Path(options.config).parent if options.config else CONFIGS))
    return run(lambda: evaluate(options) and 0, goes_on="the same command with --resume goes on")


def show_choices(folder: Path) -> None:
    """What there is, a line each."""
    print("\n".join(f"{axis} {name}" for axis, names in choices(folder).items() for name in names))


def evaluate(options: argparse.Namespace) -> dict:
    """Checks, runs, prints the table and writes `result.json`; the result as a dict."""
    config = load_config(options.config, options.dataset, options.backbone, options.cfg_options)
    total = check(config)
    prepare(config, options, total)
    with undone_on_bad_input(Path(config.work_dir)):
        runner = build(config)
        metrics = runner.test()
    result = describe(config, runner, metrics, total) if is_main_process() else {}
    if result:
        path = Path(config.work_dir) / "result.json"
        write_atomically(path, json.dumps(result, indent=2) + "\n")
        print(runner.test_evaluator.metrics[0].table())
        print(f"mIoU {result['miou']:.2f}  aAcc {result['aacc']:.2f}  ({result['images']} pictures)")
        print(result["signature"])
        print(f"written to {path}")
    return result


@contextmanager
def undone_on_bad_input(folder: Path) -> Iterator[None]:
    """Takes back what a refused run has put into the work folder; what lay there before stays as it was."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    before = set(folder.glob("*"))
    config = folder / "config.py"  # of an older result, and overwritten when the runner is built
    old = config.read_bytes() if config.is_file() else None
    try:
        yield
    except InputError:
        if is_main_process():
            for path in set(folder.glob("*")) - before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if old is not None:
                config.write_bytes(old)
            for place in new:
                if place.is_dir() and not any(place.iterdir()):
                    place.rmdir()
        raise


def check(config: Config) -> int:
    """The dataset's picture count, after everything that can be known wrong before a model is built."""
    dataset = config.test_dataloader.dataset.to_dict()
    total = check_dataset(dataset)
    init_default_scope(config.default_scope)
    classes = DATASETS.build({**dataset, "lazy_init": True}).metainfo["classes"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the segmentor loads the vocabulary again and warns then
        Vocabulary.load(config.model.vocabulary).check(classes)
    return total


def prepare(config: Config, options: argparse.Namespace, total: int) -> None:
    """Puts what belongs to this run, not to the protocol, into the config."""
    axes = config.axes
    config.work_dir = options.work_dir or str(Path("work_dirs", axes.method, axes.backbone, axes.dataset))
    config.launcher = options.launcher
    if options.limit and options.limit < total:
        config.test_dataloader.dataset.indices = options.limit
    journal = dict(type="Journal", folder=str(Path(config.work_dir, "progress")), resume=options.resume)
    own = ("Journal", "Progress", "SaveLabels", "DrawPictures")  # a config that is replayed has them already
    config.custom_hooks = [hook for hook in config.get("custom_hooks", []) if hook["type"] not in own]
    config.custom_hooks += [journal, dict(type="Progress")]
    if options.out:
        config.custom_hooks.append(dict(type="SaveLabels", folder=options.out))
    if options.show_dir:
        config.custom_hooks.append(dict(type="DrawPictures", folder=options.show_dir))
    if options.launcher == "pytorch" and not torch.cuda.is_available():
        torch.distributed.init_process_group("gloo")  # mmengine's own start-up asks for a CUDA device


def build(config: Config) -> Runner:
    """The runner; its work folder holds the resolved config as `config.py`."""
    config = Config(config.to_dict(), cfg_text="resolved", filename="config.py")
    try:
        runner = Runner.from_cfg(config)
        runner._test_loop = runner.build_test_loop(runner._test_loop)  # as its `test` does, and where errors are named
        return runner
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever its parts say of a value of the wrong kind
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(f"the config does not build: {error} ({place.filename}, line {place.lineno})") from error


def describe(config: Config, runner: Runner, metrics: dict, total: int) -> dict:
    """Score, protocol and provenance of the run, as plain data."""
    model = segmentor_of(runner)
    metric = runner.test_evaluator.metrics[0]
    progress = next(hook for hook in runner.hooks if type(hook).__name__ == "Progress")
    names = list(metric.per_class)
    background = names[model.labelling.background] if model.labelling.background is not None else None
    foreground = [row["iou"] for name, row in metric.per_class.items() if name != background and row["iou"] is not None]
    return {
        "method": config.axes.method,
        "dataset": config.axes.dataset,
        "miou": metrics["mIoU"],
        "foreground_miou": sum(foreground) / len(foreground) if foreground else None,
        "aacc": metrics["aAcc"],
        "macc": metrics["mAcc"],
        "images": metric.images,
        "images_in_dataset": total,
        "partial": metric.images != total,
        "signature": signature(config, model, metric.images, total),
        "backbone": {
            "name": config.axes.backbone,
            "arch": model.backbone.arch,
            "pretrained": model.backbone.pretrained,
            "digest": model.backbone.digest,
        },
        "vocabulary": {
            "name": model.vocabulary.name,
            "digest": model.vocabulary.digest,
            "queries": len(model.vocabulary.queries),
        },
        "templates": {
            "name": template_name(config.model.get("templates", "imagenet80"), model.templates),
            "digest": short_hash(model.templates),
            "count": len(model.templates),
        },
        "precision": model.precision,
        "device": device_name(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "seconds_per_image": progress.seconds_per_image,
        "per_class": metric.per_class,
        "versions": versions(),
        "commit": commit(),
        "config_digest": config_digest(config),
        "config": config.to_dict(),
    }


if __name__ == "__main__":
    sys.exit(main())
