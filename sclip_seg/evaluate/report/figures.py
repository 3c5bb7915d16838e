"""The papers' kinds of figure as inline SVG: bars by benchmark, and bars by variant of one method."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .grid import Cell, Grid, Row, title_of
from .tables import number
from .words import SHORT

WIDTH, BAR, STEP, TOP = 340, 12, 36, 6
VALUE = 46  # room for a figure at the right of its bar
FITS = 50  # characters of a name over a bar


@dataclass(frozen=True)
class Bar:
    """A measured score, the published one beside it, and whether the bar is drawn as doubtful."""

    name: str
    value: float
    published: float | None
    doubtful: bool


@dataclass(frozen=True)
class Chart:
    """Bars under a title, with a line of what must be known to read them."""

    title: str
    note: str
    bars: list[Bar]

    def svg(self) -> str:
        """One `<svg>`; the page's style sheet colours it."""
        height = TOP + STEP * len(self.bars)
        known = [value for bar in self.bars for value in (bar.value, bar.published) if value is not None]
        top = max(10, 10 * math.ceil(max(known) / 10))
        unit = (WIDTH - VALUE) / top
        words = "; ".join(f"{bar.name} {number(bar.value)}" for bar in self.bars)
        parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(f"{self.title}: {words}")}">']
        for index, bar in enumerate(self.bars):
            y = TOP + STEP * index
            long = bar.value * unit
            kind = "bar doubtful" if bar.doubtful else "bar"
            name = bar.name if len(bar.name) <= FITS else bar.name[: FITS - 1] + "…"
            parts.append(f'<text x="0" y="{y + 11}">{escape(name)}<title>{escape(bar.name)}</title></text>')
            parts.append(f'<rect class="rail" x="0" y="{y + 16}" width="{WIDTH - VALUE}" height="{BAR}"/>')
            parts.append(f'<rect class="{kind}" x="0" y="{y + 16}" width="{long:.1f}" height="{BAR}"/>')
            if bar.published is not None:
                x = bar.published * unit
                parts.append(f'<path class="tick" d="M{x:.1f} {y + 13}v{BAR + 6}"/>')
            parts.append(f'<text class="value" x="{WIDTH}" y="{y + 26}">{number(bar.value)}</text>')
        return "".join([*parts, "</svg>"])


def benchmark_charts(grid: Grid) -> list[Chart]:
    """A chart a dataset: every row that was measured on it."""
    charts = []
    for dataset in grid.datasets:
        column = grid.column(dataset)
        vocabularies = grid.vocabularies(dataset)
        backbones = {row.backbone for row, _ in column}
        words = f"words: {vocabularies[0]}" if len(vocabularies) == 1 else f"{len(vocabularies)} vocabularies"
        charts.append(Chart(title_of(dataset), words, [_bar(row, cell, len(backbones) > 1) for row, cell in column]))
    return charts


def ablation_charts(grid: Grid) -> list[Chart]:
    """A chart for each method, backbone and dataset of which several variants were measured."""
    charts = []
    for method, backbone in dict.fromkeys((row.method, row.backbone) for row in grid.rows):
        rows = [row for row in grid.rows if (row.method, row.backbone) == (method, backbone)]
        for dataset in grid.datasets:
            measured = [row for row in rows if dataset in row.cells]
            if len(measured) > 1:
                bars = [_variant_bar(row, row.cells[dataset]) for row in measured]
                charts.append(Chart(f"{method} on {title_of(dataset)}", f"backbone: {backbone}", bars))
    return charts


def _bar(row: Row, cell: Cell, with_backbone: bool) -> Bar:
    name = f"{row.title}, {row.backbone}" if with_backbone else row.title
    marks = [mark for mark in cell.marks if mark != "departs"]  # the title says how
    return Bar(_marked(name, marks), cell.result.miou, _published(cell), bool(cell.marks))


def _variant_bar(row: Row, cell: Cell) -> Bar:
    marks = [mark for mark in cell.marks if mark != "departs"]  # that is what such a chart shows
    return Bar(_marked(row.variant or "the method's own", marks), cell.result.miou, _published(cell), bool(marks))


def _marked(name: str, marks: Sequence[str]) -> str:
    return f"{name} [{', '.join(SHORT[mark] for mark in marks)}]" if marks else name


def _published(cell: Cell) -> float | None:
    return cell.beside.miou if cell.comparable(cell.beside) else None
