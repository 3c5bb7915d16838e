"""The work of `sclip-seg toy-student`: label, train, and two scores side by side."""

import argparse
import io
import json
from contextlib import redirect_stdout
from pathlib import Path

from PIL import Image
from prettytable import PrettyTable

from ..bars import notice
from ..evaluate import test
from ..evaluate.evaluation import evaluate
from ..files import as_png, write_atomically
from ..label import command as label_command
from ..label.run import label
from ..toy.demo import COUNT, DATA, SEED
from ..toy.make import evaluation_scene, make
from . import score_command, train_command
from .score import score
from .train import LAST, train

DATASET, TOWER, STUDENT = "toy", "toy", "segformer_b0"
OTHER_SEED = SEED + 1
# SegFormer-b0 at half its width and depth, from random weights.
SMALL = (
    *("model.backbone.init_cfg=None", "model.backbone.embed_dims=16", "model.backbone.num_layers=[1,1,1,1]"),
    *("model.decode_head.in_channels=[16,32,80,128]", "model.decode_head.channels=64"),
    *("optim_wrapper.optimizer.lr=0.002", "optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult=1.0"),
    *("train_dataloader.batch_size=16", "train_dataloader.dataset.pipeline.2.scale=[512,128]"),
    *("train_dataloader.dataset.pipeline.2.ratio_range=[0.75,1.5]", "test_pipeline.1.scale=[512,128]"),
    "train_dataloader.dataset.pipeline.5.hue_delta=1",  # a thing is known by its colour
    *("log_level=ERROR", "randomness.seed=0"),
)
CROP = 64


def compare(options: argparse.Namespace) -> None:
    """From nothing to the table; what is done already is not done again."""
    folder = options.work_dir
    pictures, labels, student = folder / "pictures", folder / "labels", folder / "student"
    draw(pictures, options.scenes)
    make(DATA / DATASET, COUNT, SEED)
    notice(f"{options.method} labels {options.scenes} scenes")
    words = [*("--dataset", DATASET, "--backbone", TOWER, "--method", options.method), "--format", "png"]
    label(label_command.parse([str(pictures), *words, "--out", str(labels)]))
    notice(f"{STUDENT}, made small, learns from them for {options.iters} iterations")
    given = ["--data", str(labels), "--pictures", str(pictures), "--work-dir", str(student)]
    resume = ["--resume"] * (student / LAST).exists()
    sizes = ["--iters", str(options.iters), "--crop", str(CROP)]
    train(train_command.parse([STUDENT, *given, *sizes, *resume, "--cfg-options", *SMALL]))
    notice(f"both are shown {COUNT} other scenes")
    with redirect_stdout(io.StringIO()):  # one table is enough
        cell = [options.method, "--dataset", DATASET, "--backbone", TOWER, "--work-dir", str(folder / "teacher")]
        teacher = evaluate(test.parse(cell))
        score(score_command.parse([str(student), "--dataset", DATASET]))
    learned = json.loads((student / f"{DATASET}.json").read_text(encoding="utf-8"))
    print(table([(f"teacher: {options.method}", teacher), (f"student: {STUDENT}, small", learned)]))


def draw(folder: Path, scenes: int) -> None:
    """Those that are not there yet; of another seed than the scenes that are scored."""
    for index in range(scenes):
        place = folder / f"{index:04d}.png"
        if not place.exists():
            scene = evaluation_scene(OTHER_SEED, index)
            write_atomically(place, as_png(Image.fromarray(scene.image)))


def table(rows: list[tuple[str, dict]]) -> PrettyTable:
    """A row for each of the two."""
    printed = PrettyTable(["", "mIoU", "aAcc", "pictures"], align="r")
    printed.align[""] = "l"
    for title, result in rows:
        printed.add_row([title, f"{result['miou']:.2f}", f"{result['aacc']:.2f}", result["images"]])
    return printed
