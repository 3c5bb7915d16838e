"""Files that are whole or not there."""

import os
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image


def write_atomically(path: Path, content: str | bytes) -> None:
    """The whole file or none of it; text is written as UTF-8, and the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def as_png(picture: Image.Image) -> bytes:
    """The content of a PNG file."""
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def reason_of(error: Exception, path: str | Path) -> str:
    """Why a decoder refused a file, in a line."""
    if Path(path).is_file() and not Path(path).stat().st_size:
        return "it is empty"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
