"""The work of `sclip-seg score-student`: a student on the pictures of a dataset, counted as every method is."""

import argparse
import hashlib
import json
import warnings
from itertools import count
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ..axes import short
from ..config import load_config
from ..data.check import check_dataset
from ..data.datasets import build_dataset
from ..data.digest import data_digest, picture_keys
from ..errors import InputError
from ..evaluate.result import config_digest, device_name, own_steps, versions
from ..evaluate.runner import Evaluation
from ..files import write_atomically
from ..options import put
from ..towers.checkpoint import read
from ..version import __version__
from .train import KEPT, LAST

WITH_DATASETS = "clip"  # the method whose config is asked for what a dataset is: it changes nothing of one
TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "default_hooks", "sync_bn")
BUILT = count()


def score(options: argparse.Namespace) -> str:
    """The lines that tell the result, which is written too."""
    folder = options.student
    weights = last_weights(folder)
    data = load_config(WITH_DATASETS, options.dataset).test_dataloader.dataset
    config = testing(Config.fromfile(folder / KEPT), data)
    for key, value in options.cfg_options.items():
        put(config._cfg_dict, key, value)
    total = check_dataset(config.test_dataloader.dataset.to_dict())
    if options.limit and options.limit < total:
        config.test_dataloader.dataset.indices = options.limit
    init_default_scope(config.default_scope)
    check_classes(config.classes, build_dataset(data.to_dict(), lazy_init=True).metainfo["classes"])
    warnings.filterwarnings("ignore", message="``build_loss`` would be deprecated")  # mmseg's heads call it
    runner = Evaluation.from_cfg(config)
    digest = filled(runner.model, weights)
    metrics = runner.test()
    metric, dataset = runner.test_evaluator.metrics[0], runner.test_dataloader.dataset
    seen = data_digest(dataset, picture_keys(dataset))
    counted = f"{metric.images}/{total}" if metric.images != total else f"{total}"
    resize = next(step for step in config.test_pipeline if step["type"] == "Resize")
    signature = "|".join(
        [
            f"student:{config.student}#{digest}",
            f"iters:{weights.stem.rpartition('_')[2]}",
            f"size:{min(resize.scale)}",
            f"data:{options.dataset}[{counted}]#{seen}",
            f"version:{__version__}",
        ]
    )
    result = {
        "student": config.student,
        "dataset": options.dataset,
        "miou": metrics["mIoU"],
        "aacc": metrics["aAcc"],
        "macc": metrics["mAcc"],
        "images": metric.images,
        "images_in_dataset": total,
        "partial": metric.images != total,
        "signature": signature,
        "teacher": config.teacher,
        "per_class": metric.per_class,
        "device": device_name(),
        "versions": versions(),
        "config_digest": config_digest(config),
        "config": config.to_dict(),
    }
    place = folder / f"{short(options.dataset)}.json"
    write_atomically(place, json.dumps(result, indent=2) + "\n")
    line = f"mIoU {result['miou']:.2f}  aAcc {result['aacc']:.2f}  ({metric.images} pictures)"
    return "\n".join([metric.table(), line, signature, f"taught by {config.teacher}", f"written to {place}"])


def last_weights(folder: Path) -> Path:
    """The last checkpoint of a training. Raises InputError where there is none."""
    last = folder / LAST
    if not last.is_file() or not (folder / KEPT).is_file():
        raise InputError(f"{folder} holds no student: sclip-seg train ... --work-dir {folder} makes one")
    return folder / Path(last.read_text(encoding="utf-8").strip()).name  # the folder may have been moved


def testing(config: Config, data: dict) -> Config:
    """A student's config for the pictures of a dataset, at the size that the student is asked at."""
    steps = [step for step in config.test_pipeline if step["type"] != "PackSegInputs"]
    pack = next(step for step in config.test_pipeline if step["type"] == "PackSegInputs")
    whole = config.to_dict()
    for key in TRAINING:
        whole.pop(key, None)
    own = own_steps(Config(dict(test_dataloader=dict(dataset=data))))
    pipeline = [*steps, dict(type="LoadLabels"), *own, pack]
    whole |= dict(
        test_dataloader=dict(
            batch_size=1,
            num_workers=2,
            persistent_workers=False,
            sampler=dict(type="Disjoint"),
            dataset={**data, "pipeline": pipeline},
        ),
        test_evaluator=dict(type="PooledIoU"),
        test_cfg=dict(type="TestLoop"),
        default_hooks=dict(timer=None, logger=None, param_scheduler=None, checkpoint=None),
        custom_hooks=[dict(type="Progress")],
        resume=False,
        launcher="none",
        log_level="WARNING",
        experiment_name=f"score{next(BUILT)}",
    )
    whole["model"]["backbone"]["init_cfg"] = None  # the weights are the student's
    return Config(whole, cfg_text="resolved", filename="score.py")


def check_classes(taught: list[str], asked: tuple[str, ...]) -> None:
    """Raises InputError unless the classes are the same, in the same order."""
    if len(taught) != len(asked):
        raise InputError(f"the student knows {len(taught)} classes, and the dataset has {len(asked)}")
    for index, (one, other) in enumerate(zip(taught, asked, strict=True)):
        if one != other:
            raise InputError(f"class {index} is {one!r} to the student, and {other!r} in the dataset")


def filled(model: nn.Module, path: Path) -> str:
    """Puts the weights in, read as data. Their digest."""
    state = read(path, first=("state_dict",)).state
    wrong = model.load_state_dict(state, strict=False)
    if wrong.missing_keys or wrong.unexpected_keys:
        raise InputError(
            f"{path} holds the weights of another student: {[*wrong.missing_keys, *wrong.unexpected_keys][0]}"
        )
    hashed = hashlib.sha256()
    for name in sorted(state):
        hashed.update(name.encode() + state[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()[:12]
