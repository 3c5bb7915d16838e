"""The report as one HTML page: nothing from elsewhere, every text escaped; a script of its own sorts tables by a click.

The page says so to the browser (its policy): no other script in it would be run, whatever stands in a result file.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .figures import Chart, ablation_charts, benchmark_charts
from .grid import MARKS, Cell, Grid, Published, Row, title_of
from .pictures import Gallery
from .tables import classes_of, covers, number, pictures, signed, summary, used_marks
from .words import MEANINGS, SHORT, About, title

STYLE, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"


def page(grid: Grid, galleries: Sequence[Gallery], tolerance: tuple[float, float], about: About | None = None) -> str:
    """The whole document. `tolerance`: up to which difference a figure agrees, and up to which it is near."""
    sections = [
        ("scores", "Measured beside published", _scores(grid, tolerance)),
        ("pictures", "The same pictures under every method", "".join(map(_gallery, galleries))),
        ("bars", "Bars by benchmark", _charts(benchmark_charts(grid))),
        ("ablation", "Variants of one method", _charts(ablation_charts(grid))),
        ("cells", "Every score and its protocol", _cells(grid, tolerance)),
        ("classes", "Score of each class", _classes(grid)),
        ("words", "What the words mean", _meanings()),
        ("warnings", "Left out", _list(escape(warning) for warning in grid.warnings)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{heading}</h2>{html}</section>' for name, heading, html in sections)
    policy = POLICY.format(base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode())
    name = escape(title(grid))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: mIoU by sclip_seg</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{name}</h1><p>{escape(summary(grid))}. "
        f"{escape((about or About()).line(len(grid.cells)))}</p><nav>{links}</nav>\n{body}\n"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _scores(grid: Grid, tolerance: tuple[float, float]) -> str:
    """The main table: rows of one protocol each, a column a benchmark."""
    averages = any(row.average is not None for row in grid.rows)
    header = ["method", *map(title_of, grid.datasets), *(["average", "average over"] if averages else [])]
    best = {name: _best(grid, name) for name in grid.datasets}
    lines = []
    for row in grid.rows:
        line = [_row_head(row)]
        for name in grid.datasets:
            cell = row.cells.get(name)
            kind = "n best" if cell is not None and cell is best[name] else "n"
            line.append(_figure(_score(cell, tolerance) if cell else "", cell and cell.result.miou, kind))
        if averages:
            line.append(_figure(_average(row), row.average) + f'<td class="covers">{escape(covers(row))}</td>')
        lines.append(line)
    agree, near = tolerance
    legend = [
        "mIoU in percent; below it what the paper reports, and the difference: "
        f'<span class="diff good">within {agree:g}</span> '
        f'<span class="diff near">within {near:g}</span> <span class="diff far">beyond</span> '
        '<span class="diff apart">not comparable</span> (the score is marked, or the source has another protocol)',
        *(f"{_mark(mark)} {escape(MARKS[mark])}" for mark in used_marks(grid)),
        "Bold: the highest of a column's complete scores, each by its own protocol. A click on a head sorts.",
    ]
    if averages:
        legend.append(
            "An average is over the complete scores of one row, which share a protocol; where averages cover other "
            "benchmarks, they are not comparable."
        )
    return _table(header, lines, numeric_from=1, numeric_to=len(grid.datasets) + 2) + _list(legend)


def _best(grid: Grid, dataset: str) -> Cell | None:
    """The highest cell of several that may be compared by eye."""
    cells = [cell for _, cell in grid.column(dataset) if not {"partial", "own labels"}.intersection(cell.marks)]
    return max(cells, key=lambda cell: cell.result.miou) if len(cells) > 1 else None


def _row_head(row: Row) -> str:
    variant = f"<small>{escape(row.variant)}</small>" if row.variant else ""
    return f'<th scope="row">{escape(row.method)}<small>{escape(row.backbone)}</small>{variant}</th>'


def _score(cell: Cell, tolerance: tuple[float, float]) -> str:
    beside = ""
    if cell.published:
        beside = f"<small>{number(cell.beside.miou)} {_difference(cell, cell.beside, tolerance)}</small>"
    return number(cell.result.miou) + beside + "".join(f"<small>{_mark(mark)}</small>" for mark in cell.marks)


def _difference(cell: Cell, figure: Published, tolerance: tuple[float, float]) -> str:
    difference = cell.result.miou - figure.miou
    if not cell.comparable(figure):
        kind = "apart"
    else:  # by what is printed, so that 0.50 agrees within 0.5
        kind = next(
            (k for k, limit in zip(("good", "near"), tolerance, strict=True) if _within(difference, limit)), "far"
        )
    return f'<span class="diff {kind}">{signed(difference)}</span>'


def _within(difference: float, limit: float) -> bool:
    return round(abs(difference), 2) <= limit


def _average(row: Row) -> str:
    if row.average is None:
        return ""
    published = row.published_average
    beside = f"<small>published {number(published)}</small>" if published is not None else ""
    return number(row.average) + beside


def _mark(mark: str) -> str:
    return f'<span class="mark">{escape(SHORT[mark])}</span>'


def _figure(html: str, value: float | None, kind: str = "n") -> str:
    """A cell with a number, by which a click on its head sorts."""
    return f'<td class="{kind}" data-value="{"" if value is None else f"{value:.6f}"}">{html}</td>'


def _charts(charts: Sequence[Chart]) -> str:
    figures = "".join(
        f"<figure><figcaption><h3>{escape(chart.title)}</h3><small>{escape(chart.note)}</small></figcaption>"
        f"{chart.svg()}</figure>"
        for chart in charts
    )
    key = '<p class="faint">Bars: measured mIoU in percent; upright line: published; pale and dashed: marked cells.</p>'
    return f'{key}<div class="charts">{figures}</div>' if charts else ""


def _cells(grid: Grid, tolerance: tuple[float, float]) -> str:
    """Of each score: what else was counted, cost, words, and below them the protocol with all published figures."""
    header = ["method", "benchmark", "mIoU", "without background", *(["of interest"] if grid.has_interest else [])]
    header += ["pixels right", "found of a class", "pictures", "seconds a picture", "class words"]
    bodies = []
    for row, cell in grid.cells:
        r = cell.result
        marks = " ".join(map(_mark, cell.marks))
        interest = [r.coi_miou] if grid.has_interest else []
        scores = [r.miou, r.foreground_miou, *interest, r.aacc, r.macc]
        line = [
            _row_head(row),
            f'<td data-value="{escape(title_of(r.dataset))}">{escape(title_of(r.dataset))} {marks}</td>',
            *(_figure(number(score), score) for score in scores),
            _figure(pictures(cell), r.images),
            _figure(number(r.seconds, 3), r.seconds),
            f"<td>{escape(r.vocabulary)}</td>",
        ]
        below = f'<td class="wide" colspan="{len(header)}"><div>{_protocol(cell)}{_sources(cell, tolerance)}</div></td>'
        bodies.append(f"<tbody><tr>{''.join(line)}</tr><tr>{below}</tr></tbody>")
    return _sheet(header, "".join(bodies), 2, len(header) - 1, "sorted cells")


def _protocol(cell: Cell) -> str:
    """The signature, and where the score was computed."""
    r = cell.result
    fields = " · ".join(f"<b>{escape(key)}</b> {escape(value)}" for key, value in r.protocol.items())
    return (
        f"<details><summary>protocol: {escape(r.precision)}, {escape(r.device)}</summary>"
        f"<p><code>{fields}</code></p><p><small>{escape(str(r.path))}</small></p></details>"
    )


def _sources(cell: Cell, tolerance: tuple[float, float]) -> str:
    if not cell.published:
        return ""
    items = _list(
        f"{number(figure.miou)} {_difference(cell, figure, tolerance)} "
        + escape("; ".join(text for text in (figure.variant, figure.source, figure.protocol) if text))
        for figure in cell.published
    )
    count = len(cell.published)
    return f"<details><summary>{count} published figure{'s' * (count > 1)}</summary>{items}</details>"


def _classes(grid: Grid) -> str:
    """A folded table a benchmark: a line a class, a column a row of the grid."""
    html = ""
    for dataset in grid.datasets:
        column = grid.column(dataset)
        names = classes_of(grid, dataset)
        header = ["class", *(f"{row.title}, {row.backbone}" for row, _ in column)]
        lines = []
        for name in names:
            ious = [cell.result.iou.get(name) for _, cell in column]
            known = [iou for iou in ious if iou is not None]
            top = max(known) if len(known) > 1 and max(known) > 0 else None
            kinds = ["n best" if top is not None and iou == top else "n" for iou in ious]
            cells = [_figure(number(iou), iou, kind) for kind, iou in zip(kinds, ious, strict=True)]
            lines.append([f'<th scope="row">{escape(name)}</th>', *cells])
        marks = "; ".join(
            f"{row.title}: {', '.join(SHORT[mark] for mark in cell.marks)}" for row, cell in column if cell.marks
        )
        note = f'<p class="faint">{escape(marks)}</p>' if marks else ""
        title = f"{escape(title_of(dataset))} ({len(names)} classes)"
        html += f"<details><summary>{title}</summary>{note}{_table(header, lines, numeric_from=1)}</details>"
    return html


def _meanings() -> str:
    terms = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in MEANINGS.items())
    return f"<dl>{terms}</dl>"


def _gallery(gallery: Gallery) -> str:
    header = "".join(f'<th scope="col">{escape(panel.title)}</th>' for panel in gallery.rows[0])
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td><img src="{panel.uri}" width="{panel.width}" height="{panel.height}" '
            f'alt="{escape(f"{panel.title} of {name}")}"></td>'
            for panel in panels
        )
        + "</tr>"
        for name, panels in zip(gallery.names, gallery.rows, strict=True)
    )
    legend = "".join(f"<li>{_swatch(colour)}{escape(name)}</li>" for name, colour in gallery.legend)
    return (
        f'<h3>{escape(gallery.title)}</h3><div class="box" tabindex="0"><table class="gallery">'
        f"<thead><tr>{header}</tr></thead><tbody>{lines}</tbody></table></div>"
        f'<ul class="legend">{legend}</ul>'
    )


def _swatch(colour: str) -> str:
    """One that is struck out for what is not painted."""
    return (
        f'<span class="swatch" style="background:{colour}"></span>' if colour else '<span class="swatch bare"></span>'
    )


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], numeric_from: int, numeric_to: int = 10**6) -> str:
    """A table that scrolls inside its box; `lines` hold ready cells."""
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return _sheet(header, f"<tbody>{body}</tbody>", numeric_from, numeric_to)


def _sheet(header: Sequence[str], bodies: str, numeric_from: int, numeric_to: int, kind: str = "sorted") -> str:
    heads = "".join(
        f'<th scope="col"{" class=n" if numeric_from <= index < numeric_to else ""}>{escape(name)}</th>'
        for index, name in enumerate(header)
    )
    table = f'<table class="{kind}"><thead><tr>{heads}</tr></thead>{bodies}</table>'
    return f'<div class="box" tabindex="0">{table}</div>'


def _list(items: Iterable[str]) -> str:
    html = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{html}</ul>" if html else ""
