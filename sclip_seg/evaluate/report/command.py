"""Measured scores beside published ones.

    sclip-seg report work_dirs --out work_dirs/report

Reads every result.json below the folders and writes report.md, report.html (one
page that needs nothing else), report.tex, cells.csv and classes.csv.

The files may be anybody's: what stands in them is shown and never run, and one
that cannot be used is named and left out. With --labels, pictures and labels
are taken from where the files say, but only below the working folder and the
folders of --data, so that no page shows pictures that were not meant for it.
"""

import argparse
import math
import sys
from pathlib import Path

from ...command import Parser, at_least_one, percent, run
from ...files import write_atomically
from ..published_figures import load
from .gather import gather
from .grid import build
from .page import page
from .pictures import galleries, kept_labels
from .places import Allowed
from .tables import cells_csv, classes_csv, latex, markdown, summary


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("folders", nargs="*", metavar="WORK_DIR", type=Path, help="default: work_dirs")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("work_dirs/report"))
    parser.add_argument(
        "--labels",
        nargs="*",
        metavar="DIR",
        type=Path,
        help="show pictures, with the label maps of these --out folders of sclip-seg test; alone: all that are found",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="DIR",
        type=Path,
        default=[Path("data")],
        help="folders outside the working folder that --labels may show pictures from (default: data, and its links)",
    )
    parser.add_argument("--pictures", type=at_least_one, default=4, metavar="N", help="how many (default: 4)")
    parser.add_argument(
        "--tolerance",
        nargs=2,
        type=percent,
        default=(0.5, 2.0),
        metavar=("AGREE", "NEAR"),
        help="differences from published figures that are coloured as agreeing and as near (default: 0.5 2)",
    )
    options = parser.parse_args(arguments)
    if not (all(map(math.isfinite, options.tolerance)) and 0 <= options.tolerance[0] <= options.tolerance[1]):
        parser.error("--tolerance takes two numbers from 0, the smaller first")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    options = parse(arguments)
    return run(lambda: report(options))


def report(options: argparse.Namespace) -> None:
    """Gathers everything, then writes the files, so that what cannot be read leaves none."""
    told: list[str] = []

    def warn(message: str) -> None:
        told.append(message)
        print(f"warning: {message}", file=sys.stderr)

    results = gather(options.folders or [Path("work_dirs")], warn)
    grid = build(results, load(), warn)
    shown = []
    if options.labels is not None:
        allowed = Allowed(options.data)
        folders = options.labels or kept_labels(grid, allowed)
        if not folders:
            warn("no label maps beside the results: run sclip-seg test with --out")
        shown = galleries(grid, folders, options.pictures, allowed, warn)
    grid.warnings = told
    texts = {
        "report.md": markdown(grid),
        "report.html": page(grid, shown, tuple(options.tolerance)),
        "report.tex": latex(grid),
        "cells.csv": cells_csv(grid),
        "classes.csv": classes_csv(grid),
    }
    for name, text in texts.items():
        write_atomically(options.out / name, whole(text))
    print(summary(grid))
    print(whole(f"written to {options.out}: {', '.join(texts)}"))


def whole(text: str) -> str:
    """With a sign in place of each half character, which JSON and file names may have and no UTF-8 file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
