"""The report as Markdown, CSV and LaTeX."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence

from .grid import MARKS, Cell, Grid, Row, expected, title_of
from .words import About, title

CELL_FIELDS = (
    *("method", "backbone", "variant", "dataset", "miou", "published", "difference", "source", "published_protocol"),
    *("published_variant", "marks", "foreground_miou", "coi_miou", "aacc", "macc", "images", "images_in_dataset"),
    *("seconds_per_image", "device", "precision", "vocabulary", "signature", "path"),
)


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference with its sign, or nothing; one that rounds to nothing has none."""
    if value is None:
        return ""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def covers(row: Row) -> str:
    """What a row's average is over, in words."""
    names = row.averaged
    return f"{len(names)}: {', '.join(map(title_of, names))}" if len(names) > 1 else ""


def used_marks(grid: Grid) -> list[str]:
    """The marks that occur, in the order of their legend."""
    used = {mark for _, cell in grid.cells for mark in cell.marks}
    return [mark for mark in MARKS if mark in used]


def summary(grid: Grid) -> str:
    """One sentence on what there is."""
    cells = [cell for _, cell in grid.cells]
    partial = sum("partial" in cell.marks for cell in cells)
    beside = sum(bool(cell.published) for cell in cells)
    parts = [
        _count(len(cells), "measured cell"),
        _count(len({row.method for row in grid.rows}), "method"),
        _count(len(grid.datasets), "dataset"),
        f"{len(cells) - partial} complete",
        f"{partial} partial",
        f"{beside} with a published figure",
    ]
    return ", ".join(parts)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def markdown(grid: Grid, about: About) -> str:
    """The whole report as Markdown tables."""
    lines = [f"# {_md(title(grid))}", "", f"{summary(grid)}. {_md(about.line(len(grid.cells)))}", ""]
    lines += ["mIoU in percent; measured / published (difference).", ""]
    header = ["method", "backbone", *map(title_of, grid.datasets), "average", "published average", "average covers"]
    body = [
        [
            row.title,
            row.backbone,
            *(short(row.cells[name]) if name in row.cells else "" for name in grid.datasets),
            number(row.average) if row.average is not None else "",
            number(row.published_average) if row.published_average is not None else "",
            covers(row),
        ]
        for row in grid.rows
    ]
    lines += _markdown_table(header, body)
    lines += [f"* [{mark}] {MARKS[mark]}" for mark in used_marks(grid)]
    lines += [
        "* An average is over complete cells of one protocol; averages that cover other cells are not comparable."
    ]
    lines += ["", "## Cells", ""]
    header = ["method", "dataset", "mIoU", "foreground", *(["CoI-mIoU"] if grid.has_interest else []), "aAcc"]
    header += ["pictures", "s/picture", "vocabulary", "signature"]
    lines += _markdown_table(header, [_cell_line(row, cell, grid.has_interest) for row, cell in grid.cells])
    sources = [(row, cell, figure) for row, cell in grid.cells for figure in cell.published]
    if sources:
        lines += ["## Published figures of these cells", ""]
        header = ["method", "dataset", "published", "measured less published", "variant", "protocol", "source"]
        body = [
            [
                row.title,
                title_of(cell.result.dataset),
                number(figure.miou),
                signed(cell.result.miou - figure.miou) + ("" if cell.comparable(figure) else " (not comparable)"),
                *(figure.variant, figure.protocol, figure.source),
            ]
            for row, cell, figure in sources
        ]
        lines += _markdown_table(header, body)
    for dataset in grid.datasets:
        lines += [f"## IoU by class: {_md(title_of(dataset))}", ""]
        column = grid.column(dataset)
        body = [
            [name, *(number(cell.result.iou.get(name)) for _, cell in column)] for name in classes_of(grid, dataset)
        ]
        lines += _markdown_table(["class", *(f"{row.title}, {row.backbone}" for row, _ in column)], body)
    if grid.warnings:
        lines += ["## Left out", "", *(f"* {_md(warning)}" for warning in grid.warnings), ""]
    return "\n".join(lines)


def short(cell: Cell) -> str:
    """`measured / published (difference) [marks]`."""
    text = number(cell.result.miou)
    if cell.beside:
        apart = "" if cell.comparable(cell.beside) else ", not comparable"
        text += f" / {number(cell.beside.miou)} ({signed(cell.difference)}{apart})"
    return text + "".join(f" [{mark}]" for mark in cell.marks)


def classes_of(grid: Grid, dataset: str) -> list[str]:
    """Names of all classes of a dataset's results, in the order of the first that has them."""
    return list(dict.fromkeys(name for _, cell in grid.column(dataset) for name in cell.result.iou))


def pictures(cell: Cell) -> str:
    """How many were counted, of how many."""
    counted, total = cell.result.images, expected(cell.result)
    return str(counted) if counted == total else f"{counted}/{total}"


def _cell_line(row: Row, cell: Cell, has_interest: bool) -> list[str]:
    r = cell.result
    scores = [r.miou, r.foreground_miou, *([r.coi_miou] if has_interest else []), r.aacc]
    counts = [pictures(cell), number(r.seconds, 3)]
    return [row.title, title_of(r.dataset), *map(number, scores), *counts, r.vocabulary, r.signature]


def _markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *body]
    return ["| " + " | ".join(map(_md, line)) + " |" for line in lines] + [""]


def _md(text: str) -> str:
    """Text that stays text in Markdown, on one line."""
    if text == "---":
        return text
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", flat)


def cells_csv(grid: Grid) -> str:
    """One line a cell, with the first published figure."""
    lines = []
    for row, cell in grid.cells:
        r, figure = cell.result, cell.beside if cell.beside else None
        beside = (
            (figure.miou, cell.difference, figure.source, figure.protocol, figure.variant) if figure else [None] * 5
        )
        scores = (r.foreground_miou, r.coi_miou, r.aacc, r.macc, r.images, r.images_in_dataset)
        place = (r.seconds, r.device, r.precision, r.vocabulary, r.signature, str(r.path))
        lines.append([row.method, row.backbone, row.variant, r.dataset, r.miou, *beside, "; ".join(cell.marks)])
        lines[-1] += [*scores, *place]
    return _csv(CELL_FIELDS, lines)


def classes_csv(grid: Grid) -> str:
    """One line a cell and class."""
    lines = [
        [row.method, row.backbone, row.variant, cell.result.dataset, name, iou]
        for row, cell in grid.cells
        for name, iou in cell.result.iou.items()
    ]
    return _csv(("method", "backbone", "variant", "dataset", "class", "iou"), lines)


def _csv(header: Sequence[str], lines: Sequence[Sequence]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_plain(value) for value in line] for line in lines)
    return buffer.getvalue()


def _plain(value: object) -> object:
    """A spreadsheet takes a text that starts like a formula for one."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def latex(grid: Grid) -> str:
    """A document of its own with the main table; needs no package beyond LaTeX's base."""
    columns = "ll" + "r" * (len(grid.datasets) + 1)
    names = max(len(row.title) + len(row.backbone) for row in grid.rows)
    width = 60 + 2 * names + 25 * len(grid.datasets)
    lines = [
        "% written by sclip-seg report",
        r"\documentclass{article}",
        r"% A sheet as wide as the table, for a look at it; copy the tabular from here.",
        rf"\paperwidth={width}mm \textwidth={width - 30}mm \oddsidemargin=-10mm",
        r"\ifx\pdfpagewidth\undefined\else\pdfpagewidth=\paperwidth\fi",
        r"\begin{document}",
        r"\begin{table}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{2pt}",
        r"\begin{tabular}{" + columns + "}",
        r"\hline",
        " & ".join(["method", "backbone", *(_tex(title_of(name)) for name in grid.datasets), "average"]) + r" \\",
        r"\hline",
    ]
    notes = used_marks(grid)
    for row in grid.rows:
        cells = [_tex_cell(row.cells[name], notes) if name in row.cells else "" for name in grid.datasets]
        average = f"{row.average:.2f} ({len(row.averaged)})" if row.average is not None else ""
        lines.append(" & ".join([_tex(row.title), _tex(row.backbone), *cells, average]) + r" \\")
    lines += [
        r"\hline",
        r"\end{tabular}",
        r"\caption{mIoU (\%), measured / published. Averages over complete cells, their number in brackets. "
        r"Published figures in italics are not comparable with the cell. "
        + " ".join(f"$^{{{index + 1}}}$ {_tex(MARKS[mark])}." for index, mark in enumerate(notes))
        + "}",
        r"\end{table}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _tex_cell(cell: Cell, notes: Sequence[str]) -> str:
    text = f"{cell.result.miou:.2f}"
    if cell.beside:
        figure = f"{cell.beside.miou:.2f}"
        text += " / " + (figure if cell.comparable(cell.beside) else rf"\textit{{{figure}}}")
    marks = ",".join(str(notes.index(mark) + 1) for mark in cell.marks)
    return f"{text}$^{{{marks}}}$" if marks else text


TEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': "''"},
    **{"<": "$<$", ">": "$>$", "|": "$|$"},
}


def _tex(text: str) -> str:
    """Text that stays text in LaTeX; what ASCII lacks is written without its accents, or by its code point."""
    spelled = []
    for char in " ".join(unicodedata.normalize("NFKD", text).split()):
        if char.isascii():
            spelled.append(TEX.get(char, char if char.isprintable() else ""))
        elif not unicodedata.combining(char):
            spelled.append(f"U+{ord(char):04X}")
    return "".join(spelled)
