"""Checks and measures on a GPU, in one go.

    sclip-seg gpu-check --parity DIR   # DIR as of `sclip-seg parity`
    sclip-seg gpu-check --quick        # its smallest form, on the CPU too

Eight minutes hold half of the methods; several runs may share a card, but for
`--sections speed`.

`labels`, `features`: every method in fp32, bf16 and fp16 against fp32 on the
CPU. `parity`: the official codes' outputs in fp32 on the device. `kernels`:
our own beside the plain code. `speed`, `bands`, `ceilings`: pictures per
second, the floor beside them, and kernels where they are off it. What fails
or keeps not to its bound is named, stops nothing else, and makes the exit
status 1; so does a check that no time was left for. All of it is in
work_dirs/gpu_check.json, written row by row.

Products and convolutions of fp32 are fp32 throughout: TF32 is off.
"""

import argparse
from pathlib import Path

from ...choices import CONFIGS, choices
from ...command import Parser, at_least_one, run

METHODS = choices(CONFIGS)["method"]
QUICK = ("sclip", "proxyclip")
SECTIONS = ("precision", "parity", "speed")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 1 where something is off or was not measured, 2 after one line about what the user can mend."""
    options = parse(arguments)

    from .check import check

    return run(lambda: check(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = Parser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything in its smallest form")
    parser.add_argument("--parity", type=Path, metavar="DIR", help="where the official codes' outputs are")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="METHOD", help="default: all")
    parser.add_argument("--limit", type=at_least_one, default=440, help="seconds after which nothing is begun")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/gpu_check.json"))
    return parser.parse_args(arguments)
