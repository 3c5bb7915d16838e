"""The results as rows of one protocol each, beside the published figures; what may not be compared is marked."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .gather import Result, Warn
from .protocol import OwnProtocols, row_key

BENCHMARKS = json.loads(Path(__file__).with_name("benchmarks.json").read_text(encoding="utf-8"))
MARKS = {
    "partial": "measured on a part of the benchmark's pictures",
    "departs": "with settings that are not the method's own",
    "own labels": 'counted on other pictures or labels than the benchmark\'s (field "labels" of the signature)',
    "vocabulary": "with other words than most of its column",
    "unknown": "the method's own config is not at hand, so departures from it are not known",
}
APART = {"partial", "departs", "unknown"}  # these stand beside no published figure


@dataclass(frozen=True)
class Published:
    """A figure of a source for one cell; `comparable` where it is the method's, by the protocol of its config."""

    miou: float
    source: str
    protocol: str
    variant: str
    comparable: bool


@dataclass
class Cell:
    """One measured score. `published`: comparable figures first, else in the order of the source files."""

    result: Result
    marks: list[str] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)

    @property
    def beside(self) -> Published | None:
        """The figure that short tables show."""
        return self.published[0] if self.published else None

    def comparable(self, figure: Published | None) -> bool:
        """Whether the difference from a published figure means anything."""
        return figure is not None and figure.comparable and not APART.intersection(self.marks)

    @property
    def difference(self) -> float | None:
        """Measured less published, by the figure beside it."""
        return self.result.miou - self.beside.miou if self.beside else None


@dataclass
class Row:
    """Cells of one method, backbone and protocol by dataset. `variant`: what sets it apart from the method's own."""

    method: str
    backbone: str
    variant: str
    cells: dict[str, Cell]

    @property
    def title(self) -> str:
        """The method with its variant."""
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def averaged(self) -> list[str]:
        """The datasets that an average may cover: the complete ones."""
        return [name for name, cell in self.cells.items() if "partial" not in cell.marks]

    @property
    def average(self) -> float | None:
        """Mean mIoU over `averaged`; None for fewer than two."""
        scores = [self.cells[name].result.miou for name in self.averaged]
        return sum(scores) / len(scores) if len(scores) > 1 else None

    @property
    def published_average(self) -> float | None:
        """The published mean over the same cells; None unless each has a comparable figure."""
        cells = [self.cells[name] for name in self.averaged]
        if len(cells) < 2 or not all(cell.comparable(cell.beside) for cell in cells):
            return None
        return sum(cell.beside.miou for cell in cells) / len(cells)


@dataclass
class Grid:
    """What a report shows."""

    rows: list[Row]
    datasets: list[str]
    warnings: list[str]

    @property
    def cells(self) -> list[tuple[Row, Cell]]:
        """Every cell with its row, in order."""
        return [(row, row.cells[name]) for row in self.rows for name in self.datasets if name in row.cells]

    def column(self, dataset: str) -> list[tuple[Row, Cell]]:
        """The cells of one dataset."""
        return [(row, row.cells[dataset]) for row in self.rows if dataset in row.cells]

    @property
    def has_interest(self) -> bool:
        """Whether a benchmark here singles out classes of interest."""
        return any(cell.result.coi_miou is not None for _, cell in self.cells)

    def vocabularies(self, dataset: str) -> list[str]:
        """The vocabularies used on a dataset, the commonest first."""
        return [name for name, _ in Counter(cell.result.vocabulary for _, cell in self.column(dataset)).most_common()]


def title_of(dataset: str) -> str:
    """The benchmark's name as papers write it."""
    return BENCHMARKS.get(dataset, {}).get("title", dataset)


def build(results: Sequence[Result], figures: Sequence, warn: Warn, own: OwnProtocols | None = None) -> Grid:
    """Rows in the order of their methods' names, the plain protocol before its variants."""
    own = own or OwnProtocols()
    departures = {result.path: own.departures(result) for result in results}
    groups: dict[tuple, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        groups[row_key(result, departures[result.path])][result.dataset].append(result)
    known = sorted(BENCHMARKS, key=list(BENCHMARKS).index)
    present = {result.dataset for result in results}
    datasets = [name for name in known if name in present] + sorted(present - {*known})
    rows = []
    for key in sorted(groups, key=lambda key: (key[0], key[1], key[3] is None, len(key[3] or ()), str(key))):
        method, backbone, shared, departs = key
        siblings = [other for other in groups if other[:2] == key[:2]]
        cells = {name: Cell(newest(groups[key][name], warn)) for name in datasets if name in groups[key]}
        row = Row(method, backbone, variant(shared, departs, siblings), cells)
        for cell in cells.values():
            mark(cell, departs)
            cell.published = published_for(cell.result, figures)
        rows.append(row)
    grid = Grid(rows, datasets, [])
    for name in datasets:
        vocabularies = grid.vocabularies(name)
        for _, cell in grid.column(name) if len(vocabularies) > 1 else ():
            if cell.result.vocabulary != vocabularies[0]:
                cell.marks.append("vocabulary")
    return grid


def newest(results: list[Result], warn: Warn) -> Result:
    """Of runs of one cell: a complete one before a partial one, then the most pictures, then the newest file."""
    ordered = sorted(results, key=lambda r: (not is_partial(r), r.images, r.written, str(r.path)))
    for result in ordered[:-1]:
        warn(f"{result.path}: {ordered[-1].path} is of the same cell, and complete or newer; left out")
    return ordered[-1]


def variant(shared: tuple, departs: tuple[str, ...] | None, siblings: Sequence[tuple]) -> str:
    """In words: the settings that are not the method's own, and the shared fields that siblings have otherwise."""
    words = list(departs or ())
    names = {key for other in siblings for key, value in other[2] if dict(shared).get(key) != value}
    said = {"templates", "tail", "scale", "refine"} if departs else set()
    words += [f"{key}:{value}" for key, value in shared if key in names - said]
    return ", ".join(words)


def is_partial(result: Result) -> bool:
    """By the run's own word, or because the folder holds fewer pictures than the benchmark has."""
    return result.partial or result.images < expected(result)


def expected(result: Result) -> int:
    """The pictures of the benchmark, or of the folder where more is not known."""
    return max(result.images_in_dataset, BENCHMARKS.get(result.dataset, {}).get("pictures", 0))


def mark(cell: Cell, departs: tuple[str, ...] | None) -> None:
    """Everything about a cell alone that keeps it from being compared."""
    if is_partial(cell.result):
        cell.marks.append("partial")
    if departs is None:
        cell.marks.append("unknown")
    elif departs:
        cell.marks.append("departs")
    if cell.result.protocol.get("labels", "all") != "all":
        cell.marks.append("own labels")


def published_for(result: Result, figures: Sequence) -> list[Published]:
    """The figures of a method, backbone and dataset: by the protocol of its config first, then without a variant."""
    axes = (result.method, result.backbone, result.dataset)
    found = [
        Published(float(f.miou), f.source, f.protocol, f.variant or "", f.comparable and not f.variant)
        for f in figures
        if (f.method, f.backbone, f.dataset) == axes
    ]
    return sorted(found, key=lambda figure: (not figure.comparable, bool(figure.variant)))
