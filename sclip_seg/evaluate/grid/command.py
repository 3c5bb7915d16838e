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
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import sclip_seg_cli

from ...axes import check
from ...command import Parser, at_least_one, percent, run
from ...config import CONFIGS, choices, method_file, names_in
from ...errors import InputError
from ...options import parse_options
from . import compare, gate, protocol, sweep
from .cell import Cell, Request
from .groups import grouped
from .run import GridRun, Outcome
from .screen import Screen
from .slots import slots
from .sweep import axes_of, varied
from .tables import BACKBONE, BENCHMARKS, TABLES, Row, Table, tables

PROGRAM = (sys.executable, sclip_seg_cli.__file__, "test")  # by its path, so that it is the code of this process
GROUP, PROTOCOL = 32, "protocol"
STOPPED = 128 + signal.SIGINT


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
    return run(lambda: reproduce(options, program, sys.argv[1:] if arguments is None else arguments))


def reproduce(options: argparse.Namespace, program: Sequence[str], arguments: Sequence[str]) -> int:
    """Measures, prints, compares; the exit status."""
    expected = gate.load(options.check) if options.check else None
    requests = plan(options, expected)
    screen = Screen(sys.stdout)
    with stop_on_signal() as stopped:
        same_code = bool(options.check or options.store)
        places = slots(options.jobs)
        share = -(-len(requests) // len(places))  # no slot is left idle for the sake of a larger group
        grid = GridRun(program, places, screen, stopped, options.anew, same_code)
        outcomes = grid.run(grouped(requests, min(options.group, share)))
        was_stopped = stopped() and len(outcomes) < len(requests)
    if any(outcome.result for outcome in outcomes):
        print(compare.table(outcomes))
        kept = keep(options, outcomes)
        print("".join(f"written to {path}\n" for path in kept), end="")
    failures = compare.failures(outcomes)
    print("\n".join(filter(None, [failures, grid.summary()])))
    if was_stopped:
        print("stopped; the same command goes on where it stopped")
        return STOPPED
    if options.store:
        command = shlex.join(["sclip-seg", "reproduce", *arguments])
        gate.store(options.store, outcomes, options.tolerance, command)
        print(f"written to {options.store}")
    drifts = expected.drifts(outcomes) if expected else []
    for line in drifts:
        print(f"drifted: {line}")
    if expected and not drifts and not failures:
        print(f"as expected: {len(outcomes)} cells of {options.check}")
    return int(bool(failures or drifts))


def plan(options: argparse.Namespace, expected: gate.Expectations | None) -> list[Request]:
    """The cells that were asked for, each once. Raises InputError for a name that does not exist."""
    limit, common = options.limit, tuple(options.cfg_options)
    if expected:
        if limit not in (None, expected.limit) or (common and common != expected.options):
            raise InputError(f"{options.check} is of other pictures or options; leave out --limit and --cfg-options")
        limit, common = expected.limit, expected.options
    parse_options(common)
    folders = folders_of(options.methods or names_in(CONFIGS))
    axes = axes_of(options.vary)
    cells = tuple(varied(selected(options, tuple(folders)), axes))
    if expected and not cells:
        cells = expected.cells
    requests = {}
    for cell in cells:
        folder = folders.get(cell.method, CONFIGS)
        have = choices(folder)
        for axis in ("method", "dataset", "backbone"):
            check(axis, getattr(cell, axis), have[axis])
        several = [cell] if options.table != [PROTOCOL] else protocol.cells(folder / f"{cell.method}.py", cell, common)
        for one in several:
            requests[one.key] = Request(one, options.work_dir, folder, limit, common, options.labels)
    return list(requests.values())


def keep(options: argparse.Namespace, outcomes: Sequence[Outcome]) -> list[Path]:
    """Writes the table of what was varied, where something was."""
    if options.table == [PROTOCOL]:
        return protocol.keep(options.work_dir, outcomes)
    return sweep.keep(options.work_dir, outcomes, axes_of(options.vary)) if options.vary else []


def folders_of(methods: Sequence[str]) -> dict[str, Path]:
    """Methods, given by name or path: the name of each, and the folder its config lies in. Raises InputError."""
    paths = [method_file(method) for method in methods]
    found = {path.stem: path.parent for path in paths}
    if len(found) < len({path.resolve() for path in paths}):
        raise InputError(f"--methods has two methods of one name: {', '.join(path.stem for path in paths)}")
    return found


def selected(options: argparse.Namespace, methods: tuple[str, ...]) -> Iterator[Cell]:
    """The cells of --table, or of --methods, --datasets and --backbones."""
    if options.table == [PROTOCOL]:
        rows = tuple(Row(method) for method in (methods if options.methods else ("sclip",)))
        found: tuple[Table, ...] = (Table(rows, BENCHMARKS),)
    else:
        found = tuple(table for name in options.table for table in tables(name, methods))
    if not found and (options.methods or options.datasets or options.backbones):
        found = (Table(tuple(Row(method) for method in methods), BENCHMARKS),)
    for table in found:
        axes = options.backbones or (BACKBONE,), options.datasets or table.datasets, table.rows
        for backbone, dataset, row in product(*axes):
            yield Cell(row.method, dataset, backbone, row.variant, row.options)


@contextmanager
def stop_on_signal():
    """Yields a function that says whether Ctrl-C, SIGTERM or a closed terminal has asked to stop."""
    received = []
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in caught}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
