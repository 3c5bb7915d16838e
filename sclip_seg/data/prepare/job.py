"""Files to be made, one by one: whole or not at all, and never over one that is there."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...bars import Bar


@dataclass(frozen=True)
class Job:
    """A file to be made; `make` writes it under the name that it is given."""

    target: Path
    make: Callable[[Path], None]


def run(jobs: list[Job], force: bool = False) -> int:
    """How many files were written; those that are there are kept, unless `force`."""
    written = 0
    for job in Bar(jobs, desc="converting", unit="file", dynamic_ncols=True):
        if force or not job.target.exists():
            make_whole(job)
            written += 1
    return written


def make_whole(job: Job) -> None:
    """The whole file or none of it."""
    job.target.parent.mkdir(parents=True, exist_ok=True)
    draft = job.target.with_name(f".{job.target.name}.part")
    draft.unlink(missing_ok=True)  # of a run that was killed
    try:
        job.make(draft)
        os.replace(draft, job.target)
    finally:
        draft.unlink(missing_ok=True)


def share(source: Path, target: Path) -> None:
    """One file under two names, or a copy on another disk, or on one without hard links."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
