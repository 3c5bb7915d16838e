"""Texts of any script in a picture: each letter in the first font of this machine that has it.

What ASCII holds is written in pillow's own font. Everything else is looked for in the font that matplotlib brings
(DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, ...), in fonts of installed packages (the extra `fonts`), and in
those of the system. Pillow joins and turns letters as their script asks where it has raqm.
"""

import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.metadata import distributions
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

MISSING = "\N{WHITE SQUARE}"
SUFFIXES = (".otf", ".ttc", ".ttf")
JOINERS = "\u200c\u200d\ufe0e\ufe0f"  # no letters, and with those beside them
# Words in the names of files that are no plain upright font; the last one has a box for every letter there is.
ODD = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "mono", "serif", "lastresort")
SHAPED = ("ARABIC", "BENGALI", "DEVANAGARI", "GUJARATI", "HEBREW", "KHMER", "MYANMAR", "TAMIL", "TELUGU", "THAI")


def tidy(text: str) -> str:
    """On one line, each letter and its accents as one where Unicode has one."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def length(text: str, size: int) -> float:
    """Width in pixels of a text on one line, `size` being the font's."""
    return sum(font_of(size, face).getlength(part) for part, face in pieces(text))


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple, size: int) -> None:
    """Draws the text with the middle of its left edge at `place` (x, y)."""
    x, y = place
    for part, face in pieces(text):
        font = font_of(size, face)
        draw.text((x, y), part, colour, font, anchor="lm")
        x += font.getlength(part)


def cut(text: str, size: int, room: float) -> str:
    """The text on one line, its end replaced by dots where it is longer than `room` pixels."""
    text = tidy(text)
    if length(text, size) <= room:
        return text
    while text and length(text + "...", size) > room:
        text = text[:-1]
    return text.rstrip() + "..."


@cache
def font_of(size: int, face: Path | None = None) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels; None is pillow's own."""
    return ImageFont.load_default(size) if face is None else ImageFont.truetype(face, size)


@lru_cache(4096)
def pieces(text: str) -> tuple[tuple[str, Path | None], ...]:
    """The text in parts with the font of each; a single one where one font has it all.

    Warns, once a script, of letters that no font has, which a square stands for.
    """
    if text.isascii():
        return ((text, None),)
    _say_if_unjoined(text)
    found = {letter: face_with(letter) for letter in dict.fromkeys(text) if _is_letter(letter)}
    for letter in (letter for letter, face in found.items() if face is None):
        _say_missing(_script(letter))
    text = "".join(letter if found.get(letter, letter) is not None else MISSING for letter in text)
    faces = dict.fromkeys([*(face for face in found.values() if face is not None), _plain_face()])
    for face in faces:
        if all(ord(letter) in letters_of(face) for letter in text if _is_letter(letter)):
            return ((text, face),)
    parts: list[tuple[str, Path | None]] = []
    for letter in text:
        face = face_with(letter) if _is_letter(letter) else None
        if parts and (face is None or face == parts[-1][1]):  # blanks and accents stay with what they follow
            parts[-1] = parts[-1][0] + letter, parts[-1][1]
        else:
            parts.append((letter, face))
    return tuple(parts)


@cache
def face_with(letter: str) -> Path | None:
    """The first font of this machine that has it, or None."""
    return next((face for face in faces() if ord(letter) in letters_of(face)), None)


def faces() -> Iterator[Path]:
    """Files of fonts, those first that look alike everywhere; looked for as far as they are asked for."""
    yield _plain_face()
    yield from _of_packages()
    yield from _of_the_system()


@cache
def letters_of(face: Path) -> frozenset[int]:
    """The code points that a font has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(face)).get_charmap())
    except (OSError, RuntimeError, UnicodeError):
        return frozenset()


def _is_letter(letter: str) -> bool:
    return not (letter.isspace() or letter in JOINERS or unicodedata.combining(letter))


@cache
def _plain_face() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@cache
def _of_packages() -> tuple[Path, ...]:
    found = {
        Path(one.locate_file(file))
        for one in distributions()
        for file in one.files or ()
        if file.suffix.lower() in SUFFIXES and "gradio" not in file.parts
    }
    return _upright_first(found)


@cache
def _of_the_system() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    return _upright_first({Path(path) for path in findSystemFonts()})


def _upright_first(paths: set[Path]) -> tuple[Path, ...]:
    fit = [path for path in paths if path.suffix.lower() in SUFFIXES and ODD[-1] not in path.name.lower()]
    return tuple(sorted(fit, key=lambda path: (any(word in path.name.lower() for word in ODD), path.name, str(path))))


def _script(letter: str) -> str:
    """The first word of its name in Unicode, which is its script's."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _say_missing(script: str) -> None:
    warnings.warn(
        f"no font here has the {script} letters of a word, and {MISSING} stands for them: "
        "pip install 'sclip_seg[fonts]', or install a font such as Noto Sans (fonts-noto, fonts-noto-cjk)",
        UserWarning,
        stacklevel=2,
    )


def _say_if_unjoined(text: str) -> None:
    if features.check("raqm"):
        return
    shaped = {script for letter in text if (script := _script(letter)) in SHAPED}
    for script in sorted(shaped):
        _say_unjoined(script)


def _say_unjoined(script: str) -> None:
    warnings.warn(
        f"pillow has no raqm here, so that {script} letters are neither joined nor turned: pip install -U pillow",
        UserWarning,
        stacklevel=2,
    )
