"""The work of `sclip-seg prepare`, a function a word."""

import argparse
import os
import warnings
from pathlib import Path

from ...bars import notice
from ...choices import CONFIGS, names_in
from ...errors import InputError
from ..check import check_dataset
from .catalogue import Benchmark, load_catalogue, load_dataset
from .convert import convert
from .download import download
from .overview import write_overview
from .subset import cut_subset
from .transfer import gigabytes
from .verify import verify

DATASETS = CONFIGS / "_base_" / "datasets"
SAID = 20  # faults that are printed


def show(options: argparse.Namespace) -> None:
    """`list`."""
    catalogue = load_catalogue()
    for name in names_in(DATASETS):
        benchmark = catalogue.get(name, Benchmark())
        expected = benchmark.pictures
        try:
            found = check_dataset(load_dataset(DATASETS, name, options.data))
            state = f"{found} pictures" + ("" if expected in (None, found) else f", not {expected}: run verify")
        except InputError as error:
            state = str(error).splitlines()[0].partition("; expected")[0]
            state += f"; next: {_next(name, benchmark, options.data)}" if name in catalogue else ""
        print(f"{name:18} {state}")


def _next(name: str, benchmark: Benchmark, data: Path) -> str:
    """The command that a dataset waits for."""
    has_all = all(archive.is_unpacked(data) for archive in benchmark.archives)
    has_all &= not benchmark.by_hand or (data / benchmark.by_hand["file"]).exists()
    return f"sclip-seg prepare {'convert' if has_all and benchmark.convert else 'download'} {name}"


def look(options: argparse.Namespace) -> None:
    """`verify`. Raises InputError where there are faults."""
    dataset, benchmark = chosen(options)
    expected = None if options.first or options.any_count else benchmark.pictures
    findings = verify(dataset, expected, options.first)
    print(f"{options.name}: {findings.summary()}")
    for note in findings.notes:
        warnings.warn(note, UserWarning, stacklevel=1)
    if findings.good:
        path = options.overview or Path("work_dirs", "prepare", f"{options.name}.png")
        write_overview(findings, path)
        print(f"overview: {path}")
    if findings.faults:
        count, shown = len(findings.faults), findings.faults[:SAID]
        shown += [f"and {count - SAID} more"] if count > SAID else []
        raise InputError("\n    ".join([f"{options.name} has {count} fault{'s' * (count > 1)}:", *shown]))


def make(options: argparse.Namespace) -> None:
    """`convert`."""
    dataset, benchmark = chosen(options)
    rule, first = benchmark.convert, options.first
    if rule:
        said = convert(rule, options.data, first, options.force, options.corrected)
        print(f"{said}; then: sclip-seg prepare verify {options.name}")
    elif not first:
        print(f"{options.name} is used as it is downloaded")
    if options.corrected:
        folder = dataset["data_prefix"]["seg_map_path"]
        print(f"evaluate with --cfg-options test_dataloader.dataset.data_prefix.seg_map_path={folder}")
    if first:
        tree = options.data / f"first_{first}"
        target = tree / os.path.relpath(dataset["data_root"], options.data)
        count = cut_subset(dataset, target, first, options.force)
        print(f"{target}: {count} pictures; evaluate with --cfg-options test_dataloader.dataset.data_root={target}")


def get(options: argparse.Namespace) -> None:
    """`download`."""
    _, benchmark = chosen(options)
    notice(f"terms: {benchmark.terms or 'not known'}{'; given to those who register or ask' * benchmark.login}")
    sizes = [archive.gigabytes[0] for archive in benchmark.archives if archive.url]
    if sizes:
        notice(f"size: {f'about {gigabytes(1e9 * sum(sizes))}' if all(sizes) else 'not told'}")
    print("\n".join(download(benchmark, options.data)))
    notice(f"then: sclip-seg prepare {'convert' if benchmark.convert else 'verify'} {options.name}")


def chosen(options: argparse.Namespace) -> tuple[dict, Benchmark]:
    """The dataset's config, for the label folder that is asked for, and what is known about it."""
    dataset = load_dataset(DATASETS, options.name, options.data)
    benchmark = load_catalogue().get(options.name, Benchmark())
    if getattr(options, "corrected", False):
        if "corrected" not in benchmark.convert:
            raise InputError("--corrected is for COCO-Object only")
        folder = options.data / benchmark.convert["corrected"]
        dataset["data_prefix"]["seg_map_path"] = os.path.relpath(folder, dataset["data_root"])
    return dataset, benchmark
