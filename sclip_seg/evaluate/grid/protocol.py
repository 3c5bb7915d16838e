"""What each choice of a protocol is worth: one choice at a time from a method's own protocol, on the same pictures.

Papers state a method and a score; class names, words for the background, templates, scale, threshold, area, size,
windows, padding, the positions' rule, refinement and precision stand in their code. `--table protocol` measures them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from ...config import load_config
from ...options import parse_options
from ...towers.kinds import rules_of
from ...words.templates import TEMPLATES
from ...words.vocabulary import FOLDER, Vocabulary
from .cell import Cell
from .run import Outcome
from .sweep import with_options, write_table

SCALES = (10, 20, 40, 50, 65, 100)
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
AREAS = (0.0, 0.02, 0.1)
SIZES = (1.5, 2, 2.5)  # short sides, in crops: 336, 448 and 560 of 224
CHOICE = re.compile(r"(?:^|-)([a-z_]+)=(.*)$")
STRIDES = (0.25, 0.5, 0.75, 1)  # in crops


def cells(method: Path, cell: Cell, common: Sequence[str]) -> Iterator[Cell]:
    """The cell as it stands, and one for each other value of each choice. Raises InputError."""
    config = load_config(method, cell.dataset, cell.backbone, parse_options([*cell.options, *common]))
    yield cell
    for choice, value, options in choices(config):
        yield with_options(cell, f"{choice}={value}", options)


def choices(config: Config) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Choice, value and options of everything that differs from the config in one thing."""
    model, dataset = config.model, config.axes.dataset
    yield from _words(model, dataset)
    own = model.get("templates", "imagenet80")
    yield from _other("templates", "model.templates", TEMPLATES, own)
    if model.get("background_threshold"):  # the best class does not depend on it
        yield from _other("scale", "model.logit_scale", SCALES, model.get("logit_scale", 40))
    if model.get("background") is not None:
        yield from _other("threshold", "model.background_threshold", SHARES, model.get("background_threshold", 0.0))
        yield from _other("area", "model.min_area", AREAS, model.get("min_area", 0.0))
    window = dict(crop=224, stride=112, padding="stretch") | dict(model.get("window", {}))
    side = window["crop"] or 224
    yield from _other("short_side", "model.short_side", [round(f * side) for f in SIZES], model.get("short_side", 336))
    if window["crop"]:
        yield from _other("stride", "model.window.stride", [round(f * side) for f in STRIDES], window["stride"])
        yield "window", "whole", ("model.window.crop=None",)
    yield from _other("padding", "model.window.padding", ("stretch", "symmetric"), window["padding"])
    rules = rules_of(model.backbone.arch)
    yield from _other("positions", "model.backbone.positions", rules, model.backbone.get("positions", rules[0]))
    if model.get("refine"):
        yield "refine", "none", ("model.refine=[]",)
    else:
        yield "refine", "PAMR", ('model.refine=["PAMR"]',)
    yield from _other("precision", "model.precision", ("fp32", "bf16"), model.get("precision", "auto"))


def _other(choice: str, key: str, values: Sequence[object], own: object) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for value in values:
        if value != own and not (own == "auto" and value == "fp32"):
            yield choice, str(value), (f"{key}={value}",)


def _words(model: dict, dataset: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Other published lists of the same classes; and of one's own, one word a class, and one for the background."""
    own = Vocabulary.load(model["vocabulary"])
    stem = own.name.split("_")[0]
    for path in sorted(FOLDER.glob("*.txt")):
        other = Vocabulary.load(path.stem)
        if path.stem.split("_")[0] == stem and len(other) == len(own) and other.classes != own.classes:
            yield "class_names", path.stem, (f"model.vocabulary={path.stem}",)
    background = model.get("background")
    single = [list(queries[:1]) for queries in own.classes]
    if single != [list(queries) for queries in own.classes]:
        yield "class_names", "first_of_each_class", (f"model.vocabulary={single!r}",)
    if background is not None and len(own.classes[background]) > 1:
        words = [list(queries) for queries in own.classes]
        words[background] = words[background][:1]
        yield "background_words", words[background][0], (f"model.vocabulary={words!r}",)


def keep(folder: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Writes protocol.md and protocol.csv: each choice, its score, and how much more that is than one's own."""
    own = {_base(outcome): outcome.result for outcome in outcomes if not outcome.request.cell.variant}
    header = ["method", "dataset", "choice", "value", "mIoU", "difference"]
    rows = []
    for outcome in outcomes:
        cell, result = outcome.request.cell, outcome.result
        base = own.get(_base(outcome))
        choice, value = CHOICE.search(cell.variant or "").groups() if base is not result else ("as it stands", "")
        if result:
            worth = f"{result['miou'] - base['miou']:+.2f}" if base and result is not base else ""
            rows.append([cell.method, cell.dataset, choice, value, f"{result['miou']:.2f}", worth])
    return write_table(folder, "protocol", header, rows)


def _base(outcome: Outcome) -> tuple[str, str, str]:
    cell = outcome.request.cell
    return cell.method, cell.dataset, cell.backbone
