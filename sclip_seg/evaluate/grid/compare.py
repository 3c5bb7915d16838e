"""Measured beside published: a line for each published figure of a cell, with the difference."""

from collections.abc import Iterator, Sequence

from prettytable import PrettyTable

from ..published_figures import Figure, figures
from .run import Outcome

COLUMNS = ("method", "backbone", "dataset", "measured", "published", "difference", "protocol", "source")
FOOTNOTE = (
    "(difference in brackets: measured by another protocol than the figure's; no difference: not all pictures; "
    "no two protocols are averaged)"
)


def table(outcomes: Sequence[Outcome], figures_of=figures) -> str:
    """The table of the finished cells; where nothing is published for any of them, without those columns."""
    rows = [row for outcome in outcomes if outcome.result for row in _rows(outcome, figures_of)]
    has_figures = any(row[4] for row in rows)
    columns = COLUMNS if has_figures else COLUMNS[:4]
    printed = PrettyTable(columns, align="l")
    printed.align["published"] = printed.align["difference"] = "r"
    for row in rows:
        printed.add_row(row[: len(columns)])
    return f"{printed}\n{FOOTNOTE}" if has_figures else str(printed)


def _rows(outcome: Outcome, figures_of) -> Iterator[list[str]]:
    request, result = outcome.request, outcome.result
    cell, miou = request.cell, f"{result['miou']:.2f}"
    if result["partial"]:
        miou += f" ({result['images']} of {result['images_in_dataset']})"
    first = [cell.row, cell.backbone, cell.dataset, miou]
    found = [f for f in figures_of(cell.method, cell.backbone, cell.dataset) if f.variant == cell.variant]
    for figure in sorted(found, key=lambda figure: not figure.comparable):
        difference = "" if result["partial"] else _difference(result["miou"], figure, bool(request.options))
        yield [*first, f"{figure.miou:g}", difference, figure.protocol, figure.source]
        first = ["", "", "", ""]
    if not found:
        yield [*first, "", "", "", ""]


def _difference(miou: float, figure: Figure, has_own_options: bool) -> str:
    difference = f"{miou - figure.miou:+.2f}"
    return difference if figure.comparable and not has_own_options else f"({difference})"


def failures(outcomes: Sequence[Outcome]) -> str:
    """The failed cells with their last lines; those with the same ones together."""
    by_reason: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.state == "failed":
            by_reason.setdefault(outcome.reason, []).append(outcome.request.cell.key)
    parts = []
    for reason, keys in by_reason.items():
        indented = "\n".join(f"    {line}" for line in reason.splitlines())
        parts.append(f"failed: {', '.join(keys)}\n{indented}")
    return "\n".join(parts)
