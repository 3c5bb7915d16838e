"""Measure a grid of methods, datasets and backbones.

    reproduce.py --table sclip-main
    reproduce.py --methods sclip naclip --datasets voc21 voc20
    reproduce.py --table clearclip-ablation --datasets toy --backbones toy
    reproduce.py --check tests/expectations/toy.json

Each cell is one run of tools/test.py in a process of its own. Finished cells
are skipped, failed ones reported, and a grid that was stopped goes on where it
stopped when the same command is given again. At the end: measured beside
published. `--check` measures a file's cells and fails where one has drifted.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load; then `run` takes over

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch
from reproduce_tables import BACKBONE, BENCHMARKS, TABLES, Row, Table, tables

from sclip_seg.command import Parser, at_least_one, percent, run
from sclip_seg.config import CONFIGS, choices
from sclip_seg.errors import InputError, near
from sclip_seg.evaluate.grid import compare, gate
from sclip_seg.evaluate.grid.cell import Cell, Request
from sclip_seg.evaluate.grid.run import GridRun
from sclip_seg.evaluate.grid.screen import Screen
from sclip_seg.options import parse_options

PROGRAM = (sys.executable, str(Path(__file__).with_name("test.py")))
STOPPED = 128 + signal.SIGINT


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    known = [*TABLES, "all"]
    parser.add_argument(
        "--table", nargs="+", choices=known, default=[], metavar="TABLE", help=f"known by name: {', '.join(known)}"
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="files of configs (default: all)")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="default: the table's, else the eight benchmarks")
    parser.add_argument("--backbones", nargs="+", metavar="NAME", help=f"default: {BACKBONE}")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every cell")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/reproduce"), metavar="DIR")
    parser.add_argument("--jobs", type=at_least_one, metavar="N", help="cells at a time, a GPU each; default: all")
    parser.add_argument("--labels", action="store_true", help="keep predicted label maps, for report.py --labels")
    parser.add_argument("--anew", action="store_true", help="measure finished cells again")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with stored expectations")
    parser.add_argument("--store", type=Path, metavar="FILE", help="store what is measured as expectations")
    parser.add_argument("--tolerance", type=percent, default=0.3, metavar="MIOU", help="of --store (default: 0.3)")
    options = parser.parse_args(arguments)
    if options.table and options.methods:
        parser.error("choose --table or --methods")
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
        grid = GridRun(program, slots(options.jobs), screen, stopped, options.anew, same_code)
        outcomes = grid.run(requests)
        was_stopped = stopped() and len(outcomes) < len(requests)
    if any(outcome.result for outcome in outcomes):
        print(compare.table(outcomes))
    failures = compare.failures(outcomes)
    print("\n".join(filter(None, [failures, grid.summary()])))
    if was_stopped:
        print("stopped; the same command goes on where it stopped")
        return STOPPED
    if options.store:
        command = shlex.join(["python", "tools/reproduce.py", *arguments])
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
    have = choices(CONFIGS)
    cells = tuple(selected(options, tuple(have["method"])))
    if expected and not cells:
        cells = expected.cells
    for cell in cells:
        for axis in ("method", "dataset", "backbone"):
            name = getattr(cell, axis)
            if name not in have[axis]:
                raise InputError(f"there is no {axis} {name!r}{near(name, have[axis])}")
    once = {cell.key: cell for cell in cells}
    return [Request(cell, options.work_dir, CONFIGS, limit, common, options.labels) for cell in once.values()]


def selected(options: argparse.Namespace, methods: tuple[str, ...]) -> Iterator[Cell]:
    """The cells of --table, or of --methods, --datasets and --backbones."""
    found: tuple[Table, ...] = tuple(table for name in options.table for table in tables(name, methods))
    if not found and (options.methods or options.datasets or options.backbones):
        found = (Table(tuple(Row(method) for method in options.methods or methods), BENCHMARKS),)
    for table in found:
        axes = options.backbones or (BACKBONE,), options.datasets or table.datasets, table.rows
        for backbone, dataset, row in product(*axes):
            yield Cell(row.method, dataset, backbone, row.variant, row.options)


def slots(jobs: int | None) -> list[dict[str, str]]:
    """For each cell at a time, its GPU; or, without GPUs, its share of the processor's threads."""
    count = torch.cuda.device_count()
    if not count:
        jobs = jobs or 1
        threads = str(max((os.cpu_count() or 1) // jobs, 1))
        share = {} if jobs == 1 or "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
        return [share] * jobs
    if jobs and jobs > count:
        raise InputError(f"--jobs {jobs}: each takes a GPU of its own, and there are {count}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names[: jobs or count]]


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


if __name__ == "__main__":
    sys.exit(main())
