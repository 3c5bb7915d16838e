"""One evaluation, from its command line to its result file."""

import argparse
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from mmengine.config import Config
from mmengine.device import is_cuda_available
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from torch.distributed import init_process_group, is_initialized

from ..config import load_config
from ..data.check import check_dataset
from ..data.datasets import build_dataset
from ..data.digest import label_rule
from ..words.vocabulary import Vocabulary
from .hooks import Progress
from .remembered import with_memory
from .result import commit, config_digest, device_name, short_hash, signature, template_name, versions
from .runner import Evaluation, building
from .sharing import Journal, forget, segmentor_of
from .work_folder import (
    PROGRESS,
    RESULT,
    SAMPLES,
    check_places,
    is_first_rank,
    keep_result,
    taken,
    undone_on_bad_input,
)

BUILT = count()


class Run:
    """One evaluation, from its command line to its result.

    Made, it has checked all that can be known before a model is built; `place` holds its folder, `build` makes its
    `runner`, `finish` keeps what comes of it, and
    `report` tells it. Raises InputError. `shared_by`: how many runs go through
    the pictures together.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.shared_by = options, 1
        settings = options.cfg_options
        if options.memory:
            chosen = options.config, options.dataset, options.backbone
            settings = with_memory(settings, *chosen, options.memory, options.memory_weight)
        self.config = load_config(options.config, options.dataset, options.backbone, settings)
        self.total = check(self.config)
        prepare(self.config, options, self.total)
        self.folder = Path(self.config.work_dir)
        outputs = {"--out": options.out, "--show-dir": options.show_dir}
        check_places(self.config.test_dataloader.dataset.to_dict(), {"--work-dir": self.config.work_dir, **outputs})

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds the work folder; what a refused run has put there is taken back."""
        if not is_first_rank(self.options.launcher):
            yield
            return
        with taken(self.folder), undone_on_bad_input(self.folder):
            yield

    def build(self) -> None:
        """The runner, its models and its data."""
        self.runner = build(self.config)
        self.runner.skip_bad = self.options.skip_bad

    def finish(self, metrics: dict) -> dict:
        """The result, kept by the first rank; empty elsewhere."""
        if not is_main_process():
            return {}
        result = describe(self.config, self.runner, metrics, self.total) | {"shared_by": self.shared_by}
        keep_result(self.folder, result, self.runner.cfg.pretty_text)
        forget(self.folder / PROGRESS)
        return result

    def report(self, result: dict) -> str:
        """What is printed of the result: the classes, what was warned of, the score and what it was measured with."""
        lines = [self.runner.test_evaluator.metrics[0].table()]
        lines += [f"warning: {text}" for text in result["warnings"]]
        lines += [f"mIoU {result['miou']:.2f}  aAcc {result['aacc']:.2f}  ({result['images']} pictures)"]
        if "coi_miou" in result:
            lines += [f"CoI-mIoU {result['coi_miou']:.2f}, of the classes of interest"]
        if "sg_iou" in result:
            lines += [f"SG-IoU {result['sg_iou']['mean']:.2f}, which is no IoU  ({result['sg_iou']['relations']})"]
        lines += [result["signature"]]
        if result["skipped"]:
            whole = result["images"] + len(result["skipped"])
            lines += [f"partial: {len(result['skipped'])} of {whole} pictures passed over:"]
            lines += [f"  {bad['reason']}" for bad in result["skipped"]]
        return "\n".join([*lines, f"written to {self.folder / RESULT}"])


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
    few_shot = [f"memory.{Path(options.memory).stem}"] if options.memory else []
    own = Path("work_dirs", axes.method, axes.backbone, axes.dataset, *few_shot)
    config.work_dir = options.work_dir or str(own)
    config.launcher = options.launcher
    if options.limit and options.limit < total:
        config.test_dataloader.dataset.indices = options.limit
    journal = dict(type="Journal", folder=str(Path(config.work_dir, PROGRESS)), resume=options.resume)
    own = ("Journal", "Progress", "Samples", "SaveLabels", "DrawPictures")  # a config that is replayed has them already
    config.custom_hooks = [hook for hook in config.get("custom_hooks", []) if hook["type"] not in own]
    samples = dict(type="Samples", folder=str(Path(config.work_dir, SAMPLES)))
    config.custom_hooks += [journal, dict(type="Progress"), samples]
    if options.out:
        config.custom_hooks.append(dict(type="SaveLabels", folder=options.out))
    if options.show_dir:
        config.custom_hooks.append(dict(type="DrawPictures", folder=options.show_dir))
    if options.launcher == "pytorch" and not is_cuda_available() and not is_initialized():
        init_process_group("gloo")  # mmengine's own start-up asks for a CUDA device


def build(config: Config) -> Evaluation:
    """The runner, with its resolved config."""
    # mmengine keeps a logger by the file's name, and several runs of a process have one each.
    config = Config(config.to_dict(), cfg_text="resolved", filename=f"config{next(BUILT)}.py", format_python_code=False)
    with building():
        runner = Evaluation.from_cfg(config)
        runner._test_loop = runner.build_test_loop(runner._test_loop)  # as its `test` does, and where errors are named
    return runner


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
        **({"coi_miou": metrics["CoI-mIoU"]} if "CoI-mIoU" in metrics else {}),
        **({} if metric.relations is None else {"sg_iou": metric.sg_iou}),
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
