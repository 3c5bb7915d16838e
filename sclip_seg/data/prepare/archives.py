"""zip and tar archives unpacked without following links or leaving the folder."""

import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ...bars import Bar
from ...errors import InputError
from .transfer import gigabytes

CHUNK = 1 << 20


class NoSpace(InputError):
    """The archive may be good; the disk is too small for it."""


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path below the wanted folder, its size, and how it is opened."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, inside: str, folder: Path) -> int:
    """Writes what the archive has in its folder `inside` ("" for all) into `folder`; the number of files.

    Everything is looked at before anything is written. The folder must be empty, so that nothing in it can lead out.
    Raises InputError for a file that is no archive, is damaged or cut short, or has a member that is a link, a
    device, absolute or leads outside; for an archive without `inside`; for too little space.
    """
    if any(folder.iterdir()):
        raise InputError(f"{folder} is not empty")
    try:
        with _open(archive) as file:
            members = list(_zipped(file) if isinstance(file, zipfile.ZipFile) else _tarred(file))
            wanted = _below(members, PurePosixPath(inside)) if inside else members
            if not wanted:
                raise InputError(f"{archive} has nothing in {inside or 'it'}")
            _check_space(sum(member.size for member in wanted), folder)
            for member in Bar(wanted, desc=archive.name, unit="file", dynamic_ncols=True, leave=False):
                _write(member, folder)
    except InputError as error:
        raise type(error)(f"{archive}: {error}") from error
    except FileExistsError as error:
        raise InputError(f"{archive} has the member {error.filename} twice") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive} is damaged: {error}") from error
    except Exception as error:  # zlib.error and lzma.LZMAError share no ancestor
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{archive} is damaged: {error}") from error
    return len(wanted)


def _open(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    with open(archive, "rb") as file:
        start = file.read(24)
    raise InputError(f"it is no zip or tar archive; it begins with {start!r}")


def _zipped(file: zipfile.ZipFile) -> list[Member]:
    members = []
    for info in file.infolist():
        path = _checked(info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"its member {info.filename!r} is a link or a device")
        if not info.is_dir():
            members.append(Member(path, info.file_size, lambda info=info: file.open(info)))
    return members


def _tarred(file: tarfile.TarFile) -> list[Member]:
    members = []
    for info in file.getmembers():
        path = _checked(info.name)
        if not (info.isreg() or info.isdir()):
            raise InputError(f"its member {info.name!r} is a link or a device")
        if info.isreg():
            members.append(Member(path, info.size, lambda info=info: file.extractfile(info)))
    file.fileobj.seek(file.offset)
    if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # what tarfile passes over in silence
        raise InputError("it is damaged: it ends without the mark of its end")
    return members


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"\\|^\w:|\0", name):
        raise InputError(f"its member {name!r} leads out of the folder")
    return path


def _below(members: list[Member], inside: PurePosixPath) -> list[Member]:
    return [
        Member(member.path.relative_to(inside), member.size, member.open)
        for member in members
        if inside in member.path.parents
    ]


def _check_space(size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoSpace(f"unpacking needs {gigabytes(size)}, {folder} has {gigabytes(free)} free")


def _write(member: Member, folder: Path) -> None:
    target = folder / member.path
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.open() as source, open(target, "xb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
            left -= len(chunk)
            if left < 0:
                break
    if left:
        raise InputError(f"its member {str(member.path)!r} does not have the size that it claims")
