"""Evaluate a method on a dataset.

    sclip-seg test sclip --dataset voc21
    sclip-seg test configs/sclip.py --dataset voc21 --backbone laion2b_vit_b16
    sclip-seg test sclip naclip clearclip --dataset voc21

Prints the per-class table, the mIoU and its signature, and writes result.json
beside the resolved config into the work folder. A run that was stopped is gone
on with by --resume, with the same score. Several methods go through the
pictures together, which costs little more than one of them and moves no score.
"""

import argparse
from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..choices import CONFIGS, method_file
from ..command import Parser, at_least_one, at_least_zero, refuses, run
from ..options import add_options
from .listing import show_choices


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "config",
        nargs="*",
        metavar="CONFIG",
        help="a method, by name or file: sclip, configs/sclip.py; several share what they read alike",
    )
    parser.add_argument("--dataset", metavar="NAME", help="a file of configs/_base_/datasets (default: voc21)")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="a file of configs/_base_/backbones, ARCH/TAG, hf-hub:OWNER/NAME, local-dir:FOLDER, a config's path",
    )
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/METHOD/BACKBONE/DATASET")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    parser.add_argument("--show-dir", metavar="DIR", help="write picture, prediction and label side by side")
    parser.add_argument("--out", metavar="DIR", help="write predicted label maps as PNG")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only; marked in the result")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, with the same score")
    parser.add_argument(
        "--skip-bad",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="pass over up to N bad files; marked in the result",
    )
    parser.add_argument("--cells", type=Path, metavar="FILE", help="a JSON list of such command lines, run together")
    parser.add_argument("--list", action="store_true", help="list methods, datasets and backbones, and end")
    add_options(parser)
    options = parser.parse_args(arguments)
    if not (options.config or options.list or options.cells):
        parser.error("a CONFIG is needed, e.g. sclip or configs/sclip.py (--list shows what there is)")
    options.configs, options.config = options.config, options.config[0] if options.config else None
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)
    if options.list:
        return run(lambda: show_choices(method_file(options.config).parent if options.config else CONFIGS))
    chosen = partial(check_chosen, options.configs, [options.dataset], [options.backbone])
    if refuses(chosen):
        return run(chosen)

    from .evaluation import alone, cells, together

    if options.cells:
        return run(lambda: cells(options.cells))
    work = partial(together, options) if len(options.configs) > 1 else partial(alone, options)
    return run(work, goes_on="the same command with --resume goes on")
