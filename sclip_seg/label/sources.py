"""Where pictures come from: folders, patterns, lists, tar shards and videos, one after the other in a fixed order."""

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ..data.headers import read_header
from ..data.loading import read_picture
from ..data.pictures import SUFFIXES, decode
from ..errors import InputError
from ..files import as_png, reason_of
from ..handed_in import existing, read_text
from ..show.demo import matches

SHARDS = (".tar", ".tar.gz", ".tgz")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
LISTS = (".lst", ".txt")
LARGEST = 2**30  # bytes of a member of a shard
UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')  # in names of files, on one system or another


@dataclass(frozen=True)
class Source:
    """A picture that can be had. `name`: what its labels are called, no two alike; `origin`: what it is to a user.

    `stamp`: changes when the file does. `read` gives (H, W, 3) uint8 RGB, and `content` the suffix and bytes of a file.
    """

    name: str
    origin: str
    stamp: str
    read: Callable[[], np.ndarray]
    content: Callable[[], tuple[str, bytes]]


@dataclass(frozen=True)
class Piece:
    """A file, as it was named and absolute, where it lies below its place, and its pictures' names and stamps."""

    told: str
    path: str
    below: str
    names: tuple[str, ...]
    stamps: tuple[str, ...]

    def sources(self) -> Iterator[Source]:
        """The pictures, as `sources` has them; of a file that has changed since, with other stamps."""
        found = _of_file(Path(self.path), PurePosixPath(self.below))
        for name, (_, _, origin, *rest) in zip(self.names, found, strict=False):
            yield Source(name, self.told + origin.removeprefix(self.path), *rest)


def sources(places: Sequence[str]) -> Iterator[Source]:
    """Everything that the arguments mean, each file once. Raises InputError for one that means nothing."""
    names: set[str] = set()
    for path, below in _files(places):
        for name, suffix, *rest in _of_file(path, below):
            yield Source(_free(name, suffix, names), *rest)


def pieces(places: Sequence[str]) -> Iterator[Piece]:
    """The same file by file, for whoever hands them on to others."""
    names: set[str] = set()
    for path, below in _files(places):
        found = [(_free(name, suffix, names), stamp) for name, suffix, _, stamp, *_ in _of_file(path, below)]
        if found:
            yield Piece(str(path), os.path.abspath(path), str(below), *map(tuple, zip(*found, strict=True)))


def _files(places: Sequence[str]) -> Iterator[tuple[Path, PurePosixPath]]:
    """Each file once, and where it lies below its place."""
    seen: set[str] = set()
    for place in places:
        base, paths = found = _found(place)
        if not found[1]:
            raise InputError(f"no pictures, shards or videos at {place}")
        for path in paths:
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path, PurePosixPath(os.path.relpath(path, base).replace(os.sep, "/"))


def count(places: Sequence[str]) -> int | None:
    """How many pictures the arguments mean, as far as is known without reading them; None where it is not."""
    paths = {os.path.realpath(path): path for place in places for path in _found(place)[1]}
    counts = [_count(path) for path in paths.values()]
    return None if None in counts else sum(counts)


def _count(path: Path) -> int | None:
    """The pictures in a file; None where it is packed, cannot be read, or a video does not say."""
    lower = path.name.lower()
    try:
        if lower.endswith(SHARDS):
            with tarfile.open(path, "r:") as shard:  # not packed: it goes from head to head
                return sum(PurePosixPath(member.name).suffix.lower() in SUFFIXES for member in shard)
        if lower.endswith(VIDEOS):
            import av

            with av.open(str(path)) as video:
                return video.streams.video[0].frames or None
    except Exception:  # whatever it is, it is told when the pictures are asked for
        return None
    return 1


def _found(place: str) -> tuple[Path, list[Path]]:
    """The folder that names begin below, and the files in order."""
    path = existing(place)
    if path.is_dir():
        return path, list(_walked(path))
    if path.is_file() and path.name.lower().endswith(LISTS):
        lines = [line.strip() for line in read_text(path, "the list of pictures").split("\n")]
        paths = [path.parent / existing(line) for line in lines if line and not line.startswith("#")]
        absent = [p for p in paths if not p.is_file()]
        if absent:
            raise InputError(f"{path} lists {absent[0]}, which is no file")
        return Path(os.path.commonpath([os.path.abspath(p.parent) for p in paths] or ["."])), paths
    if path.is_file():
        return path.parent, [path]
    inside = sorted(map(Path, matches(place)))
    paths = [p for one in inside for p in (_walked(one) if one.is_dir() else [one])]
    return Path(os.path.commonpath([os.path.abspath(p.parent) for p in paths] or ["."])), paths


def _walked(folder: Path) -> Iterator[Path]:
    for inner, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        known = (*SUFFIXES, *SHARDS, *VIDEOS)
        yield from (Path(inner, name) for name in sorted(files) if name.lower().endswith(known) and name[0] != ".")


def _of_file(path: Path, below: PurePosixPath) -> Iterator[tuple]:
    """Name, suffix, origin, stamp and the two ways to read, of each picture in a file."""
    status = path.stat()
    stamp = f"{status.st_size}.{status.st_mtime_ns}"
    lower = path.name.lower()
    if lower.endswith(SHARDS):
        stem = str(below)[: -len(next(s for s in sorted(SHARDS, key=len, reverse=True) if lower.endswith(s)))]
        yield from _of_shard(path, stem, stamp)
    elif lower.endswith(VIDEOS):
        yield from _of_video(path, str(below.with_suffix("")), stamp)
    else:

        def read() -> np.ndarray:
            return np.ascontiguousarray(read_picture(path)[..., ::-1])

        name = str(below.with_suffix(""))
        yield name, path.suffix, str(path), stamp, read, lambda: (path.suffix.lower(), path.read_bytes())


def _of_shard(path: Path, stem: str, stamp: str) -> Iterator[tuple]:
    """The pictures of a tar file, which is read as data: no member is written by its name, and links are followed not.

    webdataset's key of a sample is the name up to the first dot.
    """
    try:
        is_plain = _is_plain(path)
        with tarfile.open(path) as shard:
            for member in shard:
                shard.members = []  # it keeps all that it has seen
                suffix = PurePosixPath(member.name).suffix
                if suffix.lower() not in SUFFIXES:
                    continue
                name = f"{stem}/{member.name.removesuffix(suffix)}"
                if _fault(member):
                    content = partial(_refused, _fault(member))
                elif is_plain:
                    content = partial(_read, path, member.offset_data, member.size, suffix.lower())
                else:
                    content = partial(_same, suffix.lower(), shard.extractfile(member).read())
                origin = f"{path}:{member.name}"
                yield name, suffix, origin, stamp, partial(_decoded, content, origin), content
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"the shard {path} cannot be read: {reason_of(error, path)}") from error


def _fault(member: tarfile.TarInfo) -> str:
    parts = re.split(r"[/\\]", member.name)
    if not member.isreg():
        return "it is a link or a device, not a file"
    if member.issparse():
        return "it is stored with holes"
    if member.name.startswith(("/", "\\")) or ".." in parts:
        return "its name leads out of the shard"
    return f"it has {member.size} bytes" if member.size > LARGEST else ""


def _is_plain(path: Path) -> bool:
    """Whether the shard is not compressed, so that a member can be read where it lies."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.ReadError:
        return False


def _read(path: Path, offset: int, size: int, suffix: str) -> tuple[str, bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        return suffix, file.read(size)


def _same(suffix: str, content: bytes) -> tuple[str, bytes]:
    return suffix, content


def _refused(why: str) -> tuple[str, bytes]:
    raise InputError(why)


def _decoded(content: Callable[[], tuple[str, bytes]], origin: str) -> np.ndarray:
    try:
        _, data = content()
        return np.ascontiguousarray(decode(data, read_header(data), f"the picture {origin}")[..., ::-1])
    except Exception as error:  # the decoders raise what they like
        raise InputError(f"the picture {origin} cannot be read: {reason_of(error, '')}") from error


def _of_video(path: Path, stem: str, stamp: str) -> Iterator[tuple]:
    """Frame by frame; the names count from 0."""
    try:
        import av
    except ImportError as error:
        raise InputError(f"the video {path} needs PyAV: pip install 'sclip_seg[label]'") from error
    try:
        with av.open(str(path)) as video:
            for number, frame in enumerate(video.decode(video=0)):
                pixels = partial(frame.to_ndarray, format="rgb24")
                yield f"{stem}/{number:06d}", ".png", f"{path}:{number}", stamp, pixels, partial(_frame, pixels)
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"the video {path} cannot be read: {reason_of(error, path)}") from error


def _frame(pixels: Callable[[], np.ndarray]) -> tuple[str, bytes]:
    return ".png", as_png(Image.fromarray(pixels()))


def _free(name: str, suffix: str, names: set[str]) -> str:
    """The name made fit for files, with its suffix or a number where another picture has it, in capitals or not."""
    parts = [UNFIT.sub("_", part).strip() for part in re.split(r"[/\\]", name)]
    plain = "/".join(part for part in parts if part.strip(".")) or "picture"
    choice, number = plain, 1
    while choice.lower() in names:
        choice = f"{plain}{suffix}" if number == 1 else f"{plain}_{number}"
        number += 1
    names.add(choice.lower())
    return choice
