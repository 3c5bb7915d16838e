"""The work folder of a run: for one run at a time, apart from the data, and a result beside its own config."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from filelock import FileLock, Timeout

from ..data.check import Layout
from ..errors import InputError
from ..files import clear_drafts, write_atomically
from .sharing import CONFIG, journals

LOCK = "run.lock"
PROGRESS = "progress"
RESULT = "result.json"
SAMPLES = "samples"  # the label maps of the first few pictures
PATIENCE = 0.5  # seconds: `is_at_work` may hold the lock for a moment
LOG = re.compile(r"\d{8}_\d{6}")  # mmengine's folder of a run's log
RANK = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}


def is_first_rank(launcher: str) -> bool:
    """Whether this process is the first of a run, known from its environment before the ranks have met."""
    return int(os.environ.get(RANK.get(launcher, ""), 0)) == 0


def is_at_work(folder: Path) -> bool:
    """Whether a run is at work in the folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Holds the folder for one run, and makes it; what a killed run held is free.

    Raises InputError at once where another run is at work. Folders that were made and stayed empty go again.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another run is at work in {folder}: wait until it has ended, or choose another --work-dir"
        ) from error
    try:
        clear_drafts(folder.glob(".*"))
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be deleted, it stays
            (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):  # what is not empty stays
            for place in made:
                place.rmdir()


@contextmanager
def undone_on_bad_input(folder: Path) -> Iterator[None]:
    """Takes back what a refused run has put into the work folder; what lay there before stays as it was.

    A run that had scored pictures keeps its journal and what it has written for them, to go on with --resume.
    """
    before = set(folder.glob("*"))
    try:
        yield
    except InputError:
        new = set(folder.glob("*")) - before
        if any(b'"index"' in path.read_bytes() for path in journals(folder / PROGRESS)):
            new = {path for path in new if LOG.fullmatch(path.name)}
        for path in new:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def check_places(dataset: dict, places: Mapping[str, str | None]) -> None:
    """Raises InputError where what is written would land among what is read, or two kinds of files in one folder.

    `places`: the folder of each option, `--work-dir` among them; None for what is not asked for.
    """
    layout = Layout.of(dataset)
    given = {option: Path(place) for option, place in places.items() if place}
    for option, place in given.items():
        for what, own in (("picture", layout.pictures), ("label", layout.labels)):
            if _is_within(place, own):
                raise InputError(f"{option} {place} lies in the dataset's {what} folder {own}; choose another folder")
        if _is_same(place, layout.root):
            raise InputError(f"{option} {place} is the dataset's own folder; choose another one")
    options = [option for option in given if option != "--work-dir"]
    progress = given["--work-dir"] / PROGRESS
    for option in options:
        if _is_within(given[option], progress):
            raise InputError(f"{option} {given[option]} is where the run keeps its journal; choose another folder")
    for first, second in pairwise(options):
        if _is_same(given[first], given[second]):
            raise InputError(f"{first} and {second} are both {given[first]}: their files have the same names")


def _is_within(place: Path, other: str | Path) -> bool:
    real = Path(os.path.realpath(place))
    return any(_is_same(folder, other) for folder in (real, *real.parents))


def _is_same(place: str | Path, other: str | Path) -> bool:
    """Whether two paths are one folder, by whatever links or letter case."""
    if os.path.exists(place) and os.path.exists(other):
        return os.path.samefile(place, other)
    return os.path.normcase(os.path.realpath(place)) == os.path.normcase(os.path.realpath(other))


def keep_result(folder: Path, result: dict, config: str) -> Path:
    """Writes `result.json` and its `config.py`; at no moment does a config lie beside a result of another one."""
    place = folder / CONFIG
    if place.is_file() and place.read_bytes() != config.encode():
        place.unlink()
    write_atomically(folder / RESULT, json.dumps(result, indent=2) + "\n", durable=True)
    write_atomically(place, config, durable=True)
    return folder / RESULT
