"""The archives of a benchmark, fetched and put in their places under `data/`."""

import shutil
import tempfile
from pathlib import Path

from ...errors import InputError
from .archives import NoSpace, unpack
from .catalogue import Archive, Benchmark
from .transfer import fetch, gigabytes


def download(benchmark: Benchmark, data: Path, attempts: int = 5, pause: float = 2.0) -> list[str]:
    """Fetches and unpacks what is not in its place yet; says what was done, and what a person must fetch.

    Raises InputError; what has been fetched until then is kept and gone on with.
    """
    if not benchmark.archives and not benchmark.by_hand:
        raise InputError("nothing is known about where this dataset comes from")
    missing = [archive for archive in benchmark.archives if not archive.is_unpacked(data)]
    check_space(missing, data)
    said = [f"{data / archive.to}: it was there" for archive in benchmark.archives if archive not in missing]
    for archive in missing:
        file = data / archive.place
        if not file.is_file():
            if not archive.url:
                raise InputError(f"the archive {file} is missing, which another one should have brought")
            fetch(archive.url, file, archive.checksum, attempts, pause)
        count = put(archive, file, data)
        said.append(
            f"{data / archive.to}: {count} files from {archive.url or 'the archive'} ({file}, which may be deleted)"
        )
    if benchmark.by_hand:
        place = data / benchmark.by_hand["file"]
        fetched = f"{place}: it was there"
        said.append(
            fetched if place.exists() else f"to be fetched by hand: {benchmark.by_hand['how']}; put it at {place}"
        )
    return said


def check_space(archives: list[Archive], data: Path) -> None:
    """Raises InputError where what is to be fetched and unpacked will not fit."""
    needed = 0.0
    for archive in archives:
        packed, unpacked = archive.gigabytes
        file = data / archive.place
        part = file.with_name(file.name + ".part")
        there = sum(path.stat().st_size for path in (file, part) if path.is_file())
        needed += max(0.0, packed * 1e9 - there) + unpacked * 1e9
    place = next(folder for folder in (data, *data.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(f"the download needs about {gigabytes(needed)}, {data} has {gigabytes(free)} free")


def put(archive: Archive, file: Path, data: Path) -> int:
    """Unpacks beside the place and moves the result in; the number of files.

    A file that is no good archive is set aside, so that the next run fetches it again.
    """
    target = (data / archive.to).resolve()  # may lie elsewhere, behind a link
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as place:
        draft = Path(place, "tree")
        draft.mkdir()
        try:
            count = unpack(file, archive.inside, draft)
        except NoSpace:
            raise
        except InputError as error:
            aside = file.with_name(file.name + ".bad")
            file.replace(aside)
            raise InputError(f"{error}; it is now {aside}, and another run fetches it anew") from error
        _move_in(draft, target, archive.holds)
    return count


def _move_in(draft: Path, target: Path, holds: str) -> None:
    """Moves the tree as a whole, or entry by entry into what is there, the one that tells a complete tree last."""
    if not target.exists() or not any(target.iterdir()):
        draft.replace(target)
        return
    entries = sorted(draft.iterdir(), key=lambda entry: (entry.name == holds, entry.name))
    clash = [entry.name for entry in entries if (target / entry.name).exists()]
    if clash:
        raise InputError(f"{target} has a {clash[0]} already, which may not be that of the archive; move it away")
    for entry in entries:
        entry.rename(target / entry.name)
