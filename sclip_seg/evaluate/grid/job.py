"""A process of a grid and the cells that it measures: their locks, how far they are, what they have left."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.config import Config

from ..work_folder import PROGRESS, RESULT, is_at_work
from .cell import Request
from .engine import Work

LAST_LINES = 5
LOG, GROUP, GROUP_LOG = "log.txt", "group.json", "group.txt"  # the last two in the folder of a group's first cell


class Busy(Exception):
    """Another process works on the cell."""


@dataclass
class Begun:
    """A cell of a job: its config, how many pictures it wants, and how many its journal has."""

    request: Request
    config: Config
    total: int
    lock: FileLock
    resumed: bool
    before: tuple[int, int] | None
    pictures: int = 0
    _offset: int = 0

    def has_result(self) -> bool:
        """Whether a result was written since it began; what lay there before is none of it."""
        return version_of(self.request.folder / RESULT) not in (None, self.before)

    def look(self) -> int:
        """Pictures that its journal has by now."""
        journal = self.request.folder / PROGRESS / "rank0.jsonl"
        try:
            with journal.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return self.pictures
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self.pictures += whole.count(b'"index"')
        return self.pictures


@dataclass
class Job:
    """A process, and the cells that it measures together."""

    cells: list[Begun]
    slot: int
    process: Work
    start: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        """The first cell's name, and how many there are beside it."""
        others = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        return self.cells[0].request.cell.key + others


def version_of(path: Path) -> tuple[int, int] | None:
    """Tells a file that was written anew from the one before; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def locked(folder: Path) -> FileLock:
    """The lock of a cell's folder. Raises Busy where a grid or a run is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise Busy from error
    if is_at_work(folder):
        lock.release()
        raise Busy
    return lock


def last_lines(path: Path) -> list[str]:
    """The last lines of a log that say something; the redrawn ones of a progress bar count as lines."""
    lines = re.split(r"[\r\n]+", path.read_text(encoding="utf-8", errors="replace"))
    return [line.rstrip() for line in lines if line.strip()][-LAST_LINES:]
