"""Measured scores beside published ones.

    sclip-seg report work_dirs --out work_dirs/report

Reads every result.json below the folders and writes report.md, report.html (one
page that needs nothing else), report.tex, cells.csv and classes.csv. What was
measured with a memory has the same files of its own, in DIR/few_shot.

The files may be anybody's: what stands in them is shown and never run, and one
that cannot be used is named and left out. With --labels, pictures and labels
are taken from where the files say, but only below the working folder and the
folders of --data, so that no page shows pictures that were not meant for it.
"""

import argparse
import math
from pathlib import Path

from ...command import Parser, at_least_one, percent, run


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

    from .writing import report

    return run(lambda: report(options))
