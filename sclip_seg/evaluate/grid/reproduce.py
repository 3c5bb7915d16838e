"""The work of `sclip-seg reproduce`: which cells are asked for, measured, and what comes of them."""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from ...axes import check
from ...choices import CONFIGS, choices, method_file, names_in
from ...errors import InputError
from ...options import parse_options
from . import compare, gate, protocol, sweep
from .cell import Cell, Request
from .command import PROTOCOL
from .engine import engine_of
from .groups import grouped
from .run import GridRun, Outcome
from .screen import Screen
from .slots import slots
from .sweep import axes_of, varied
from .tables import BACKBONE, BENCHMARKS, Row, Table, tables

STOPPED = 128 + signal.SIGINT


def reproduce(options: argparse.Namespace, program: Sequence[str], arguments: Sequence[str]) -> int:
    """Measures, prints, compares; the exit status."""
    expected = gate.load(options.check) if options.check else None
    requests = plan(options, expected)
    resources = parse_options(options.resources, "--resources")
    screen = Screen(sys.stdout)
    with stop_on_signal() as stopped:
        same_code = bool(options.check or options.store)
        engine = engine_of(options.engine, options.address, resources, options.work_dir)
        if engine.remote:
            groups = grouped(requests, options.group)
            places = [{}] * (options.jobs or len(groups))
        else:
            places = slots(options.jobs)
            share = -(-len(requests) // len(places))  # no slot is left idle for the sake of a larger group
            groups = grouped(requests, min(options.group, share))
        grid = GridRun(program, places, screen, stopped, options.anew, same_code, engine)
        try:
            outcomes = grid.run(groups)
        finally:
            engine.close()
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
    caught = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in caught}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
