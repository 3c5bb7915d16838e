"""Files that are whole or not there."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image

DRAFT = ".tmp"


def write_atomically(path: Path, content: str | bytes | Iterable[bytes], durable: bool = False) -> None:
    """The whole file or none of it; text is written as UTF-8, parts one after the other; the folder is made.

    `durable`: it has reached the disk when this returns, and outlasts a machine that loses its power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=DRAFT)
    try:
        with os.fdopen(handle, "wb") as file:
            whole = content.encode() if isinstance(content, str) else content
            file.writelines([whole] if isinstance(whole, bytes) else whole)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    if durable:
        _settle(path.parent)


def _settle(folder: Path) -> None:
    """The names in a folder reach the disk; where a system opens no folders, they do without."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_drafts(paths: Iterable[Path]) -> None:
    """Deletes, of these paths, what `write_atomically` left when it was killed."""
    for path in paths:
        if path.name.startswith(".") and path.name.endswith(DRAFT):
            path.unlink(missing_ok=True)


def as_png(picture: Image.Image) -> bytes:
    """The content of a PNG file. PIL's `optimize` would make it some percent smaller, and a figure takes a second."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def reason_of(error: Exception, path: str | Path) -> str:
    """Why a decoder refused a file, in a line."""
    if Path(path).is_file() and not Path(path).stat().st_size:
        return "it is empty"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
