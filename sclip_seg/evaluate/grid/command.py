"""Measure a grid of methods, datasets and backbones.

  sclip-seg reproduce --table sclip-main
  sclip-seg reproduce --methods sclip naclip --datasets voc21 voc20
  sclip-seg reproduce --table clearclip-ablation --datasets toy --backbones toy
  sclip-seg reproduce --methods sclip --datasets voc21 \\
      --vary model.logit_scale=30,40,50 --vary model.min_area=0,0.1
  sclip-seg reproduce --table protocol --methods sclip --datasets voc21
  sclip-seg reproduce --check tests/expectations/toy.json

Cells of the same data and weights are measured by one process: what they read
alike is read once, the trunk where their windows are the same, and no score
depends on it. Finished cells are skipped, failed ones reported, and a grid that
was stopped goes on where it stopped when the same command is given again. At
the end: measured beside published. `--check` measures a file's cells and fails
where one has drifted.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import sclip_seg_cli

from ...axes import check_chosen
from ...command import Parser, at_least_one, percent, refusal, run
from .tables import BACKBONE, TABLES

PROGRAM = (sys.executable, sclip_seg_cli.__file__, "test")  # by its path, so that it is the code of this process
GROUP, PROTOCOL = 32, "protocol"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    known = [*TABLES, PROTOCOL, "all"]
    parser.add_argument(
        "--table", nargs="+", choices=known, default=[], metavar="TABLE", help=f"known by name: {', '.join(known)}"
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="or paths of configs (default: all)")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="default: the table's, else the eight benchmarks")
    parser.add_argument("--backbones", nargs="+", metavar="NAME", help=f"default: {BACKBONE}")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="measure each cell with these values of a setting; given again, with every combination",
    )
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every cell")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/reproduce"), metavar="DIR")
    parser.add_argument("--jobs", type=at_least_one, metavar="N", help="cells at a time, a GPU each; default: all")
    parser.add_argument(
        "--group",
        type=at_least_one,
        default=GROUP,
        metavar="N",
        help=f"cells that share a process and its trunk, at most (default: {GROUP})",
    )
    parser.add_argument(
        "--engine", choices=("local", "ray", "slurm"), default="local", help="who runs the groups (default: local)"
    )
    parser.add_argument("--address", metavar="PLACE", help="of a Ray cluster, as ray.init takes it")
    parser.add_argument(
        "--resources", nargs="+", default=[], metavar="KEY=VALUE", help="of each group: num_gpus=1, slurm_partition=dev"
    )
    parser.add_argument(
        "--labels", action="store_true", help="keep predicted label maps, for sclip-seg report --labels"
    )
    parser.add_argument("--anew", action="store_true", help="measure finished cells again")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with stored expectations")
    parser.add_argument("--store", type=Path, metavar="FILE", help="store what is measured as expectations")
    parser.add_argument("--tolerance", type=percent, default=0.3, metavar="MIOU", help="of --store (default: 0.3)")
    options = parser.parse_args(arguments)
    if options.table and options.methods and options.table != [PROTOCOL]:
        parser.error("choose --table or --methods")
    if PROTOCOL in options.table and (len(options.table) > 1 or options.vary):
        parser.error(f"--table {PROTOCOL} stands alone: it varies what it names")
    if options.check and options.store:
        parser.error("choose --check or --store")
    if not (options.table or options.methods or options.datasets or options.backbones or options.check):
        parser.error("name a --table, or --methods, --datasets, --backbones, or --check FILE")
    return options


def main(arguments: list[str] | None = None, program: Sequence[str] = PROGRAM) -> int:
    """Exit status: 0, 1 where a cell failed or drifted, 2 after one line about what the user can mend, 130 stopped."""
    options = parse(arguments)
    chosen = partial(check_chosen, options.methods or (), options.datasets or (), options.backbones or ())
    if refused := refusal(chosen):
        return run(refused)

    from .reproduce import reproduce

    return run(lambda: reproduce(options, program, sys.argv[1:] if arguments is None else arguments))
