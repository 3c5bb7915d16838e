"""The page's own folder on disk: what lies in it is bounded, and gone when the page is, however it ended."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "sclip_seg-"
LOCK = "page.lock"  # held while the page is served; the system lets it go when the process ends
LARGEST = 100 << 20  # bytes of one upload
TOTAL = 1 << 30  # bytes of everything that visitors brought or made
AGE = 3600  # seconds from the last use to the end of a file
LEAST = 1 << 16  # bytes that any file counts for, so that there are not endlessly many
STALLED = 60  # seconds without a byte, after which an upload counts as broken off


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder among the machine's temporary ones, for the time of the block.

    Clears those whose page was killed before: folders of this user with a lock of ours that nobody holds.
    """
    clear_abandoned()
    folder, lock = _locked()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def clear_abandoned() -> None:
    """Removes the folders of pages that are gone. What is not surely ours is left alone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _is_ours(folder):
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                pass
        except (Timeout, OSError):  # its page is served
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    lock = folder / LOCK
    try:
        is_mine = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
        return is_mine and folder.is_dir() and lock.is_file() and not (folder.is_symlink() or lock.is_symlink())
    except OSError:
        return False


def _locked() -> tuple[Path, FileLock]:
    """A folder and its lock; another page that starts may clear the folder in the moment before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire()
        except OSError:
            if folder.is_dir():
                raise
            continue
        if (folder / LOCK).is_file():
            return folder, lock
        lock.release()


@dataclass
class Uploads:
    """Files that visitors bring, and pictures that are made for them, all below `folder`.

    A file ends `age` seconds after its last use, and earlier where a new one needs its room: the oldest first.
    """

    folder: Path
    largest: int = LARGEST
    total: int = TOTAL
    age: float = AGE
    coming: int = 0
    kept: frozenset[Path] = field(default_factory=frozenset)

    def keep(self) -> None:
        """What is there now stays as long as the page."""
        self.kept = frozenset(path for _, _, path in self._files())

    def announce(self, size: int) -> bool:
        """Whether an upload of so many bytes may come; it counts until `arrived`."""
        if not self.make_room(size):
            return False
        self.coming += size
        return True

    def arrived(self, size: int) -> None:
        """The upload is on disk, or was broken off."""
        self.coming -= size

    def make_room(self, size: int) -> bool:
        """Removes the oldest files until so many bytes fit beside those that are coming; whether they do."""
        files = sorted(self._files())
        used = sum(cost for _, cost, _ in files) + self.coming + size
        for changed, cost, path in files:
            if used <= self.total:
                break
            if path.parent != self.folder or changed < time.time() - STALLED:  # gradio's drafts lie on top
                path.unlink(missing_ok=True)
                used -= cost
        return used <= self.total

    def sweep(self) -> None:
        """Removes what was not used for `age` seconds, keeps the sum, and removes the folders that are empty."""
        oldest = time.time() - self.age
        for changed, _, path in self._files():
            if changed < oldest:
                path.unlink(missing_ok=True)
        self.make_room(0)
        for place in list(self.folder.glob("*/")):
            try:
                if place.stat().st_mtime < oldest:
                    place.rmdir()
            except OSError:  # not empty
                continue

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each was last used, what it counts for, and where it is; what is kept is left out."""
        for place, _, names in os.walk(self.folder):
            for path in (Path(place, name) for name in names):
                try:
                    state = path.lstat()
                except OSError:  # removed meanwhile
                    continue
                if path not in self.kept:
                    yield state.st_mtime, max(state.st_size, LEAST), path
