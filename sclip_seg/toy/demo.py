"""The work of `sclip-seg toy-demo`: methods on every toy dataset, one table, and predictions side by side."""

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from prettytable import PrettyTable

from ..drawing import LINE, make_palette, overlay
from ..evaluate.group import Group
from ..evaluate.run import Run
from ..evaluate.test import parse
from ..files import write_atomically
from ..words.vocabulary import Vocabulary
from . import WORLDS
from .make import make
from .ranks import correlation, gains

# The field in short: each of another kind, and none that takes long.
QUICK = ("clip", "maskclip", "clip_surgery", "sclip", "gem", "naclip", "clearclip", "proxyclip", "scclip", "corrclip")
METHODS = (
    *("clip", "maskclip", "clip_surgery", "sclip", "gem", "naclip", "clearclip"),
    *("cliptrase_windows", "proxyclip", "trident", "itaclip", "cliper", "resclip", "scclip"),
    *("lposs", "lposs_plus", "fsa", "sfp", "dih_clip", "gla_clip", "cass", "rfclip", "pearl"),
    *("corrclip", "corrclip_v2", "zsseg", "radseg"),
)
BACKBONE, DATASETS = "toy12", ("toy_rich", "toy_rich_stuff")
DATA, OUT = Path("data"), Path("work_dirs/demo")
COUNT, SEED, SHOWN = 100, 0, 4


def demo(everything: bool = False) -> None:
    """Those of QUICK, or every method, on every toy dataset."""
    methods = METHODS if everything else QUICK
    for world in WORLDS:
        make(DATA / world, COUNT, SEED, world)
    found = [row for dataset in DATASETS for row in rows(methods, dataset)]
    write_atomically(OUT / "summary.json", json.dumps(found, indent=2) + "\n")
    for dataset in DATASETS:
        compare(methods, dataset).save(OUT / f"{dataset}.png")
    print(table(found))
    if everything:
        value, count = correlation(gains(), {r["method"]: r["miou"] for r in found if r["dataset"] == DATASETS[0]})
        print(f"Spearman's correlation with the papers' order of {count} of them: {value:.2f}")
    print(f"written to {OUT / 'summary.json'}; pictures of predictions: {OUT}/{{{','.join(DATASETS)}}}.png")


def rows(methods: Sequence[str], dataset: str) -> list[dict]:
    """Evaluates methods as `sclip-seg test` does when it is given several: each is what it is alone."""
    cells = [(OUT / method / dataset, [method, "--dataset", dataset, "--backbone", BACKBONE]) for method in methods]
    lines = [[*line, "--work-dir", str(cell), "--out", str(cell / "labels")] for cell, line in cells]
    with redirect_stdout(io.StringIO()):  # each result.json has its classes; here one table is enough
        members = Group([Run(parse(line)) for line in lines]).measure()
    for member in members:
        if member.error is not None:
            raise member.error
    keys = ("method", "dataset", "miou", "foreground_miou", "aacc", "signature")
    return [{key: member.result[key] for key in keys} for member in members]


def table(rows: list[dict]) -> PrettyTable:
    """mIoU over all classes, and over the things alone where there is a background."""
    table = PrettyTable(["dataset", "method", "mIoU", "foreground mIoU"], align="r")
    table.align["dataset"] = table.align["method"] = "l"
    for r, following in zip(rows, [*rows[1:], None], strict=True):
        last = following is None or following["dataset"] != r["dataset"]
        table.add_row([r["dataset"], r["method"], f"{r['miou']:.1f}", f"{r['foreground_miou']:.1f}"], divider=last)
    return table


def compare(methods: Sequence[str], dataset: str) -> Image.Image:
    """The first pictures, their labels and each method's prediction, a picture a row."""
    palette = make_palette(len(Vocabulary.load(dataset)))
    world = DATA / DATASETS[0]
    truth = world / ("labels/val" if dataset == DATASETS[0] else "labels_stuff/val")
    folders = {"label": truth} | {m: OUT / m / dataset / "labels" for m in methods}
    names = sorted(path.name for path in truth.glob("*.png"))[:SHOWN]
    pictures = [np.asarray(Image.open(world / "images/val" / name)) for name in names]
    cell = max(max(picture.shape[:2]) for picture in pictures) + 6
    canvas = Image.new("RGB", (cell * (1 + len(folders)), LINE + cell * SHOWN), "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(["picture", *folders]):
        draw.text((cell * column + 2, 2), title, "black")
    for index, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        maps = [np.asarray(Image.open(folder / name)) for folder in folders.values()]
        panels = [picture, *(overlay(picture, labels, palette, 0.8) for labels in maps)]
        for column, panel in enumerate(panels):
            canvas.paste(Image.fromarray(panel), (cell * column, LINE + cell * index))
    return canvas
