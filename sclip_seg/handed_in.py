"""What people hand in as text: files of any editor, paths with `~`, names in either of Unicode's two forms.

macOS writes an é of a file's name as e and an accent (NFD), everybody else as one character (NFC); PowerShell writes
UTF-16, Windows editors a byte order mark. All of these are read; what is no Unicode text is refused with its place.
"""

import codecs
import os
import re
import unicodedata
from pathlib import Path

from .errors import InputError

LARGEST = 64 * 2**20  # bytes; no list of names is larger
MARKS = {  # the longer mark first: that of UTF-32 begins as UTF-16's does
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | Path, what: str) -> str:
    """The text of a file, its lines ended by "\\n"; `what` it is called in an error.

    UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one. Names in it stay in the form they have.

    Raises:
        InputError: a file that cannot be read, is far too large, or is no such text; the place is named.
    """
    try:
        if os.path.getsize(path) > LARGEST:
            raise InputError(f"{what} {path} is no list: it has {os.path.getsize(path)} bytes")
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{what} {path} is not {encoding.removesuffix('-sig').upper()}: line {line}, byte {error.start} "
            f"(0x{content[error.start]:02x}); save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{what} {path} is no text: line {line} holds a zero byte; "
            "if it is UTF-16, it lacks the byte order mark: save it as UTF-8"
        )
    # A mark inside comes from files that were joined; read_text's newlines are those of Python's text files.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def composed(name: str) -> str:
    """The name in NFC, the form in which names are compared and words are given to a tokenizer."""
    return unicodedata.normalize("NFC", name)


def at_home(path: str | Path) -> str:
    """The path with `~` in front as a home folder, also where it was joined to a folder: `data/~/list.txt`."""
    text = os.fspath(path)
    if "~" in text and not os.path.exists(text):
        text = os.path.expanduser(re.sub(r"^.*/(?=~(/|$))", "", text))
    return text


def existing(path: str | Path) -> Path:
    """The path, each part in the form (NFC or NFD) in which it is there; as it is where there is no such file."""
    text = at_home(path)
    try:
        if text.isascii() or os.path.exists(text):
            return Path(text)
        found = Path()
        for part in Path(text).parts:
            forms = (found / unicodedata.normalize(form, part) for form in ("NFC", "NFD"))
            found = next((form for form in (found / part, *forms) if form.exists()), None)
            if found is None:
                return Path(text)
        return found
    except ValueError:  # a zero byte in it
        return Path(text)
