"""The report as one HTML page: no scripts, nothing from elsewhere, every text escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .figures import Chart, ablation_charts, benchmark_charts
from .grid import MARKS, Cell, Grid, Published, Row, title_of
from .pictures import Gallery
from .tables import classes_of, covers, number, pictures, signed, summary, used_marks

STYLE = Path(__file__).with_name("page.css")


def page(grid: Grid, galleries: Sequence[Gallery], tolerance: tuple[float, float]) -> str:
    """The whole document. `tolerance`: up to which difference a figure agrees, and up to which it is near."""
    sections = [
        ("scores", "Measured beside published", _scores(grid, tolerance)),
        ("bars", "Bars by benchmark", _charts(benchmark_charts(grid))),
        ("ablation", "Variants of one method", _charts(ablation_charts(grid))),
        ("cells", "Every cell and its protocol", _cells(grid, tolerance)),
        ("classes", "IoU by class", _classes(grid)),
        ("pictures", "The same pictures under every method", "".join(map(_gallery, galleries))),
        ("warnings", "Left out", _list(escape(warning) for warning in grid.warnings)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{html}</section>' for name, title, html in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sclip_seg: report</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body><h1>Report</h1><p>{escape(summary(grid))}.</p><nav>{links}</nav>\n{body}\n</body></html>\n"
    )


def _scores(grid: Grid, tolerance: tuple[float, float]) -> str:
    """The main table: rows of one protocol each, a column a benchmark."""
    averages = any(row.average is not None for row in grid.rows)
    header = ["method", *map(title_of, grid.datasets), *(["average", "which covers"] if averages else [])]
    best = {name: _best(grid, name) for name in grid.datasets}
    lines = []
    for row in grid.rows:
        line = [_row_head(row)]
        for name in grid.datasets:
            cell = row.cells.get(name)
            kind = "n best" if cell is not None and cell is best[name] else "n"
            line.append(f'<td class="{kind}">{_score(cell, tolerance) if cell else ""}</td>')
        if averages:
            line.append(f'<td class="n">{_average(row)}</td><td class="covers">{escape(covers(row))}</td>')
        lines.append(line)
    agree, near = tolerance
    legend = [
        "mIoU in percent; below it the published figure and the difference: "
        f'<span class="diff good">within {agree:g}</span> '
        f'<span class="diff near">within {near:g}</span> <span class="diff far">beyond</span> '
        '<span class="diff apart">not comparable</span> (the cell is marked, or the source has another protocol)',
        *(f"{_mark(mark)} {escape(MARKS[mark])}" for mark in used_marks(grid)),
        "Bold: the highest of a column's complete cells, each by its own protocol.",
    ]
    if averages:
        legend.append(
            "An average is over the complete cells of one row, which share a protocol; where averages cover other "
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
    return f'<span class="mark">{escape(mark)}</span>'


def _charts(charts: Sequence[Chart]) -> str:
    figures = "".join(
        f"<figure><figcaption><h3>{escape(chart.title)}</h3><small>{escape(chart.note)}</small></figcaption>"
        f"{chart.svg()}</figure>"
        for chart in charts
    )
    key = '<p class="faint">Bars: measured mIoU in percent; upright line: published; pale and dashed: marked cells.</p>'
    return f'{key}<div class="charts">{figures}</div>' if charts else ""


def _cells(grid: Grid, tolerance: tuple[float, float]) -> str:
    """One line a cell: scores, cost, vocabulary, and the protocol with all published figures folded below."""
    header = ["method", "benchmark", "mIoU", "foreground", "aAcc", "mAcc", "pictures", "s/picture", "vocabulary"]
    lines = []
    for row, cell in grid.cells:
        r = cell.result
        numbers = number(r.miou), number(r.foreground_miou), number(r.aacc), number(r.macc), pictures(cell)
        marks = " ".join(map(_mark, cell.marks))
        lines.append(
            [
                _row_head(row),
                f"<td>{escape(title_of(r.dataset))} {marks}</td>",
                *(f'<td class="n">{value}</td>' for value in (*numbers, number(r.seconds, 3))),
                f"<td>{escape(r.vocabulary)}</td>",
                f'<td class="wide">{_protocol(cell)}{_sources(cell, tolerance)}</td>',
            ]
        )
    return _table([*header, "protocol"], lines, numeric_from=2, numeric_to=8)


def _protocol(cell: Cell) -> str:
    """The signature, and where the score was computed."""
    r = cell.result
    fields = " · ".join(f"<b>{escape(key)}</b> {escape(value)}" for key, value in r.protocol.items())
    return (
        f"<details><summary>{escape(r.precision)}, {escape(r.device)}</summary>"
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
            cells = [f'<td class="{kind}">{number(iou)}</td>' for kind, iou in zip(kinds, ious, strict=True)]
            lines.append([f'<th scope="row">{escape(name)}</th>', *cells])
        marks = "; ".join(f"{row.title}: {', '.join(cell.marks)}" for row, cell in column if cell.marks)
        note = f'<p class="faint">{escape(marks)}</p>' if marks else ""
        title = f"{escape(title_of(dataset))} ({len(names)} classes)"
        html += f"<details><summary>{title}</summary>{note}{_table(header, lines, numeric_from=1)}</details>"
    return html


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
    legend = "".join(
        f'<li><span class="swatch" style="background:{colour}"></span>{escape(name)}</li>'
        for name, colour in gallery.legend
    )
    return (
        f'<h3>{escape(gallery.title)}</h3><div class="box" tabindex="0"><table class="gallery">'
        f"<thead><tr>{header}</tr></thead><tbody>{lines}</tbody></table></div>"
        f'<ul class="legend">{legend}</ul>'
    )


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], numeric_from: int, numeric_to: int = 10**6) -> str:
    """A table that scrolls inside its box; `lines` hold ready cells."""
    heads = "".join(
        f'<th scope="col"{" class=n" if numeric_from <= index < numeric_to else ""}>{escape(name)}</th>'
        for index, name in enumerate(header)
    )
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return f'<div class="box" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(items: Iterable[str]) -> str:
    html = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{html}</ul>" if html else ""
