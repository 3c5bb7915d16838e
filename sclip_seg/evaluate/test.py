"""Evaluate a method on a dataset.

    sclip-seg test sclip --dataset voc21
    sclip-seg test configs/sclip.py --dataset voc21 --backbone laion2b_vit_b16

Prints the per-class table, the mIoU and its signature, and writes result.json
beside the resolved config into the work folder. A run that was stopped is gone
on with by --resume, with the same score.
"""

import argparse
import os
import traceback
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import is_cuda_available
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope

from ..command import Parser, at_least_one, at_least_zero, run
from ..config import CONFIGS, load_config, method_file
from ..data.check import check_dataset
from ..data.datasets import build_dataset
from ..data.digest import label_rule
from ..errors import InputError
from ..options import add_options
from ..words.vocabulary import Vocabulary
from .hooks import Progress
from .listing import show_choices
from .result import commit, config_digest, device_name, short_hash, signature, template_name, versions
from .runner import Evaluation
from .sharing import Journal, forget, segmentor_of
from .work_folder import (
    PROGRESS,
    check_places,
    is_first_rank,
    keep_result,
    taken,
    undone_on_bad_input,
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG", help="a method, by name or file: sclip, configs/sclip.py"
    )
    parser.add_argument("--dataset", metavar="NAME", help="a file of configs/_base_/datasets (default: voc21)")
    parser.add_argument("--backbone", metavar="NAME", help="a file of configs/_base_/backbones")
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/METHOD/BACKBONE/DATASET")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    parser.add_argument("--show-dir", metavar="DIR", help="write picture, prediction and label side by side")
    parser.add_argument("--out", metavar="DIR", help="write predicted label maps as PNG")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only; marked in the result")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, with the same score")
    parser.add_argument(
        "--skip-bad",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="pass over up to N bad files; marked in the result",
    )
    parser.add_argument("--list", action="store_true", help="list methods, datasets and backbones, and end")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.config is None and not options.list:
        parser.error("a CONFIG is needed, e.g. sclip or configs/sclip.py (--list shows what there is)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)
    if options.list:
        return run(lambda: show_choices(method_file(options.config).parent if options.config else CONFIGS))
    return run(lambda: evaluate(options) and 0, goes_on="the same command with --resume goes on")


def evaluate(options: argparse.Namespace) -> dict:
    """Checks, runs, prints the table and writes `result.json`; the result as a dict."""
    config = load_config(options.config, options.dataset, options.backbone, options.cfg_options)
    total = check(config)
    prepare(config, options, total)
    folder, outputs = Path(config.work_dir), {"--out": options.out, "--show-dir": options.show_dir}
    check_places(config.test_dataloader.dataset.to_dict(), {"--work-dir": config.work_dir, **outputs})
    with taken(folder) if is_first_rank(options.launcher) else nullcontext():
        with undone_on_bad_input(folder) if is_first_rank(options.launcher) else nullcontext():
            runner = build(config)
            runner.skip_bad = options.skip_bad
            metrics = runner.test()
        if not is_main_process():
            return {}
        result = describe(config, runner, metrics, total)
        path = keep_result(folder, result, runner.cfg.pretty_text)
        forget(folder / PROGRESS)
    print(runner.test_evaluator.metrics[0].table())
    print("".join(f"warning: {text}\n" for text in result["warnings"]), end="")
    print(f"mIoU {result['miou']:.2f}  aAcc {result['aacc']:.2f}  ({result['images']} pictures)")
    print(result["signature"])
    if result["skipped"]:
        print(f"partial: {len(result['skipped'])} of {result['images'] + len(result['skipped'])} pictures passed over:")
        print("\n".join(f"  {bad['reason']}" for bad in result["skipped"]))
    print(f"written to {path}")
    return result


def check(config: Config) -> int:
    """The dataset's picture count, after everything that can be known wrong before a model is built."""
    dataset = config.test_dataloader.dataset.to_dict()
    total = check_dataset(dataset)
    init_default_scope(config.default_scope)
    classes = build_dataset(dataset, lazy_init=True).metainfo["classes"]
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
    journal = dict(type="Journal", folder=str(Path(config.work_dir, PROGRESS)), resume=options.resume)
    own = ("Journal", "Progress", "SaveLabels", "DrawPictures")  # a config that is replayed has them already
    config.custom_hooks = [hook for hook in config.get("custom_hooks", []) if hook["type"] not in own]
    config.custom_hooks += [journal, dict(type="Progress")]
    if options.out:
        config.custom_hooks.append(dict(type="SaveLabels", folder=options.out))
    if options.show_dir:
        config.custom_hooks.append(dict(type="DrawPictures", folder=options.show_dir))
    if options.launcher == "pytorch" and not is_cuda_available():
        torch.distributed.init_process_group("gloo")  # mmengine's own start-up asks for a CUDA device


def build(config: Config) -> Evaluation:
    """The runner, with its resolved config."""
    config = Config(config.to_dict(), cfg_text="resolved", filename="config.py")
    try:
        runner = Evaluation.from_cfg(config)
        runner._test_loop = runner.build_test_loop(runner._test_loop)  # as its `test` does, and where errors are named
        return runner
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever its parts say of a value of the wrong kind
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(f"the config does not build: {error} ({place.filename}, line {place.lineno})") from error


def describe(config: Config, runner: Evaluation, metrics: dict, total: int) -> dict:
    """Score, protocol and provenance of the run, as plain data."""
    model = segmentor_of(runner)
    metric = runner.test_evaluator.metrics[0]
    progress = next(hook for hook in runner.hooks if isinstance(hook, Progress))
    journal = next(hook for hook in runner.hooks if isinstance(hook, Journal))
    skipped = runner.test_loop.skipped
    data = journal.digest(runner, [bad.index for bad in skipped])
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
        "warnings": told(runner, metric.images != total),
        "skipped": [{"picture": bad.picture, "reason": bad.reason} for bad in skipped],
        "data": {"digest": data, "label_rule": label_rule(runner.test_dataloader.dataset)},
        "signature": signature(config, model, metric.images, total, data),
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


def told(runner: Evaluation, partial: bool) -> list[str]:
    """Every warning of the run, to which what cannot be meant of its data is added here."""
    metric, data = runner.test_evaluator.metrics[0], runner.test_dataloader.dataset
    pictures = [data.get_data_info(index)["img_path"] for index in range(len(data))]
    notes = metric.notes(pictures, partial)
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return list(dict.fromkeys([*getattr(warnings.showwarning, "shown", ()), *notes]))
