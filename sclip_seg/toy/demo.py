"""The work of `sclip-seg toy-demo`: every method on every toy dataset, one table, and predictions side by side."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from prettytable import PrettyTable

from ..drawing import LINE, make_palette, overlay
from ..evaluate.evaluation import evaluate
from ..evaluate.test import parse
from ..files import write_atomically
from ..words.vocabulary import Vocabulary
from .make import make

METHODS = (
    *("clip", "maskclip", "clip_surgery", "sclip", "gem", "naclip", "clearclip"),
    *("cliptrase_windows", "proxyclip", "trident", "itaclip", "cliper", "resclip", "scclip"),
    *("lposs", "lposs_plus", "fsa", "sfp", "dih_clip", "gla_clip", "cass", "rfclip", "pearl"),
    *("corrclip", "corrclip_v2", "zsseg", "radseg"),
)
DATASETS = ("toy", "toy_stuff")
DATA, OUT = Path("data/toy"), Path("work_dirs/demo")
COUNT, SEED, SHOWN = 100, 0, 4


def demo() -> None:
    """Every method on every toy dataset."""
    make(DATA, COUNT, SEED)
    rows = [row(method, dataset) for dataset in DATASETS for method in METHODS]
    write_atomically(OUT / "summary.json", json.dumps(rows, indent=2) + "\n")
    for dataset in DATASETS:
        compare(dataset).save(OUT / f"{dataset}.png")
    print(table(rows))
    print(f"written to {OUT / 'summary.json'}; pictures of predictions: {OUT}/{{{','.join(DATASETS)}}}.png")


def row(method: str, dataset: str) -> dict:
    """Evaluates one cell as `sclip-seg test` does."""
    cell = OUT / method / dataset
    arguments = [method, "--dataset", dataset, "--backbone", "toy"]
    with redirect_stdout(io.StringIO()):  # each result.json has its classes; here one table is enough
        result = evaluate(parse([*arguments, "--work-dir", str(cell), "--out", str(cell / "labels")]))
    print(f"{method} on {dataset}: mIoU {result['miou']:.1f}", flush=True)
    keys = ("method", "dataset", "miou", "foreground_miou", "aacc", "seconds_per_image", "signature")
    return {key: result[key] for key in keys}


def table(rows: list[dict]) -> PrettyTable:
    """mIoU over all classes, and over the things alone where there is a background."""
    table = PrettyTable(["dataset", "method", "mIoU", "foreground mIoU", "s/picture"], align="r")
    table.align["dataset"] = table.align["method"] = "l"
    for r in rows:
        numbers = f"{r['miou']:.1f}", f"{r['foreground_miou']:.1f}", f"{r['seconds_per_image']:.3f}"
        table.add_row([r["dataset"], r["method"], *numbers], divider=r["method"] == METHODS[-1])
    return table


def compare(dataset: str) -> Image.Image:
    """The first pictures, their labels and every method's prediction, a picture a row."""
    palette = make_palette(len(Vocabulary.load(dataset)))
    truth = DATA / ("labels/val" if dataset == "toy" else "labels_stuff/val")
    folders = {"label": truth} | {m: OUT / m / dataset / "labels" for m in METHODS}
    names = sorted(path.name for path in truth.glob("*.png"))[:SHOWN]
    pictures = [np.asarray(Image.open(DATA / "images/val" / name)) for name in names]
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
