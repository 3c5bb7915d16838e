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
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..command import BAD_INPUT, Parser, at_least_one, at_least_zero, run
from ..config import CONFIGS, method_file
from ..errors import InputError
from ..files import write_atomically
from ..options import add_options
from .group import Group, in_groups
from .listing import show_choices
from .run import Run


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
    if options.cells:
        return run(lambda: cells(options.cells))
    work = partial(together, options) if len(options.configs) > 1 else partial(alone, options)
    return run(work, goes_on="the same command with --resume goes on")


def alone(options: argparse.Namespace) -> None:
    """Evaluates one method, and prints what comes of it."""
    evaluate(options, print)


def evaluate(options: argparse.Namespace, say: Callable[[str], None] = lambda text: None) -> dict:
    """Checks, runs, and writes `result.json`; the result as a dict."""
    run = Run(options)
    with run.place():
        run.build()
        result = run.finish(run.runner.test())
    if result:
        say(run.report(result))
    return result


def together(options: argparse.Namespace) -> int:
    """Evaluates several methods, which share what they read alike, and prints what comes of each. The exit status."""
    runs = [Run(single) for single in singles(options)]
    members = [member for group in in_groups(runs) for member in Group(group).measure()]
    for member in sorted(members, key=lambda member: member.status):
        print(f"{member.run.config.axes.method}:\n{member.text}\n", file=sys.stderr if member.status else sys.stdout)
    return max(member.status for member in members)


def singles(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The options of each method; what they write goes into a folder of each. Raises InputError."""
    names = [method_file(config).stem for config in options.configs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]} is named twice")
    own = []
    for config, name in zip(options.configs, names, strict=True):
        given = {key: getattr(options, key) for key in ("work_dir", "out", "show_dir")}
        places = {key: str(Path(place, name)) for key, place in given.items() if place}
        own.append(argparse.Namespace(**vars(options) | places | {"config": config}))
    return own


def cells(path: Path) -> int:
    """Evaluates the command lines of a file together. What is said of each goes to `log.txt` in its work folder."""
    runs, status = [], 0
    for arguments in json.loads(path.read_text(encoding="utf-8")):
        options = parse(arguments)
        try:
            runs.append(Run(options))
        except InputError as error:
            status = BAD_INPUT
            log(Path(options.work_dir), f"error: {error}")
    for group in in_groups(runs):
        for member in Group(group).measure():
            log(member.run.folder, member.text)
            status = max(status, member.status)
    return status


def log(folder: Path, text: str) -> None:
    """Keeps what is said of a cell, and says it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "log.txt", f"{text}\n")
    print(text, flush=True)
