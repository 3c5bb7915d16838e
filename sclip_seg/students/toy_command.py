"""A teacher and its student on the toy world, offline (make student).

Draws scenes, has a method label them, trains a small SegFormer on these labels,
and evaluates both on other scenes, which neither has seen.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, run


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--method", default="corrclip", metavar="NAME", help="that teaches (default: corrclip)")
    parser.add_argument("--scenes", type=at_least_one, default=300, metavar="N", help="labelled (default: 300)")
    parser.add_argument("--iters", type=at_least_one, default=1500, metavar="N", help="of the student (default: 1500)")
    parser.add_argument(
        "--work-dir", type=Path, default=Path("work_dirs/toy_student"), metavar="DIR", help="default: %(default)s"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)

    from .toy import compare

    return run(lambda: compare(options), goes_on="the same command goes on")
