"""Cells of one config that differ in what `--vary` names: which they are, their table, and the score drawn over it."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from ...errors import InputError
from ...files import write_atomically
from ...options import parse_options, split_values
from .cell import Cell
from .run import Outcome

LONGEST, DRAWN = 80, 24  # letters of a variant's name, and of a value where it is drawn


@dataclass(frozen=True)
class Axis:
    """A setting and the values that it takes, as they are typed."""

    key: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The key's last part."""
        return self.key.rsplit(".", 1)[-1]

    def of(self, cell: Cell) -> str | None:
        """The value in a cell; None where the cell does not have the setting."""
        return next((value for key, _, value in map(_parted, reversed(cell.options)) if key == self.key), None)


def axis(text: str) -> Axis:
    """`KEY=V1,V2,...`; commas within brackets or quotes part nothing. Raises InputError."""
    key, equals, values = text.partition("=")
    found = split_values(values) if equals else None
    if not found:
        raise InputError(f"--vary takes KEY=V1,V2,..., such as model.logit_scale=30,40,50, not {text!r}")
    parse_options([f"{key}={value}" for value in found])
    return Axis(key.strip(), tuple(dict.fromkeys(found)))


def axes_of(texts: Sequence[str]) -> list[Axis]:
    """All that is varied. Raises InputError for a setting that is named twice."""
    found = [axis(text) for text in texts]
    names = [one.key for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--vary names {twice[0]} twice; give its values with commas between them")
    return found


def varied(cells: Iterable[Cell], axes: Sequence[Axis]) -> Iterator[Cell]:
    """Each cell with every combination of the values."""
    for cell in cells:
        for values in product(*(axis.values for axis in axes)):
            options = tuple(f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True))
            pairs = ",".join(f"{axis.name}={value}" for axis, value in zip(axes, values, strict=True))
            yield with_options(cell, pairs, options)


def with_options(cell: Cell, name: str, options: Sequence[str]) -> Cell:
    """A variant of the cell: its name is a folder's, so that letters which no folder has are left out."""
    name = re.sub(r"[^\w.,=+-]+", "", name)[:LONGEST]
    return replace(
        cell, variant="-".join(filter(None, (cell.variant, name))) or None, options=(*cell.options, *options)
    )


def keep(folder: Path, outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Path]:
    """Writes sweep.md, sweep.csv and sweep.png into the folder: a row a cell, and the score over the first setting."""
    header = ["method", "backbone", "dataset", *(axis.key for axis in axes), "mIoU", "aAcc", "images"]
    rows = []
    for outcome in outcomes:
        cell, result = outcome.request.cell, outcome.result
        if result:
            score = f"{result['miou']:.2f}", f"{result['aacc']:.2f}", str(result["images"])
            rows.append([cell.method, cell.backbone, cell.dataset, *(axis.of(cell) or "" for axis in axes), *score])
    paths = write_table(folder, "sweep", header, rows)
    picture = folder / "sweep.png"
    write_atomically(picture, drawn(outcomes, axes))
    return [*paths, picture]


def write_table(folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Path]:
    """NAME.md and NAME.csv with the same cells."""
    lines = [header, ["---"] * len(header), *rows]
    markdown = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    paths = folder / f"{name}.md", folder / f"{name}.csv"
    for path, content in zip(paths, (markdown, text.getvalue()), strict=True):
        write_atomically(path, content)
    return list(paths)


def drawn(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> bytes:
    """A PNG: mIoU over the first setting, a line for each method, backbone and combination of the others."""
    from matplotlib.figure import Figure

    first, *others = axes
    places = {value: number for number, value in enumerate(first.values)}
    numbers = {value: _number(value) for value in first.values}
    is_scale = None not in numbers.values()
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for outcome in outcomes:
        cell, result = outcome.request.cell, outcome.result
        if result:
            value = first.of(cell)
            title = ", ".join([cell.method, *(_short(f"{axis.name} {axis.of(cell)}") for axis in others)])
            place = numbers[value] if is_scale else places[value]
            panel = lines.setdefault(f"{cell.dataset}, {cell.backbone}", {})
            panel.setdefault(title, []).append((place, result["miou"]))
    figure = Figure(figsize=(5 * max(len(lines), 1), 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, max(len(lines), 1), squeeze=False)[0]
    for panel, (title, curves) in zip(panels, lines.items(), strict=False):
        for name, points in curves.items():
            panel.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
        panel.set(title=title, xlabel=first.key, ylabel="mIoU")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
        if not is_scale:
            panel.set_xticks(list(places.values()), map(_short, places), rotation=30, ha="right")
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _parted(option: str) -> tuple[str, str, str]:
    return option.partition("=")


def _short(text: str) -> str:
    return text if len(text) <= DRAWN else text[: DRAWN - 1] + "…"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
