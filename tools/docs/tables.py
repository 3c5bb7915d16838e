"""The tables of a Markdown page, which the cards of the methods take their measurements from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """Its heads, its rows of as many cells, and the page's title."""

    head: list[str]
    rows: list[list[str]]
    title: str


def tables(path: Path) -> Iterator[Table]:
    """The tables of a page."""
    title, lines = "", []
    for line in [*path.read_text().splitlines(), ""]:
        if line.startswith("# "):
            title = line.removeprefix("# ")
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            yield Table(lines[0], lines[2:], title)
            lines = []


def table_of(path: Path, first: str) -> Table:
    """The one table whose first head is that."""
    (found,) = [table for table in tables(path) if table.head[0] == first]
    return found
