"""Evaluate a trained student on a dataset, as sclip-seg test evaluates.

  sclip-seg score-student work_dirs/students/segformer_b0 --dataset voc20

The student knows the classes that it was taught, in their order; the dataset
must have the same. Prints the table and the mIoU, and writes DIR/DATASET.json.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, run
from ..options import add_options


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("student", type=Path, metavar="DIR", help="the --work-dir of sclip-seg train")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="as in sclip-seg test")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only; marked in the result")
    add_options(parser, "any setting")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)

    from .score import score

    return run(lambda: print(score(options)))
