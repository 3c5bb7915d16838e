"""Words that people look for: as they are typed, in a list, or in a class file."""

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr  # a tensor has many lines

from ..errors import InputError
from ..handed_in import existing
from .vocabulary import FOLDER, Vocabulary, shipped

NONE = "no words: say what to look for, e.g. 'cat, dog; puppy, grass'"


def read_words(words: object) -> list[list[str]]:
    """Queries of each class: those of a class file (`Vocabulary`) where the words are its path, else of `split_words`.

    A path is a `Path`, a text that ends in .txt, or one with a folder or a suffix in it at which there is a file.
    """
    if isinstance(words, str | Path):
        file = _class_file(str(words).strip(), isinstance(words, Path))
        if file is not None:
            return [list(queries) for queries in Vocabulary.load(file).classes]
    return split_words(words)


def _class_file(text: str, is_path: bool) -> str | None:
    is_file = _is_file(existing(text))
    bare = os.path.basename(text) == text
    if is_path or (text.lower().endswith(".txt") and (is_file or "," not in text)):
        return f"./{text}" if bare else text  # without a folder, a name without .txt would be a shipped one's
    if is_file and not (bare and not os.path.splitext(text)[1]):
        return f"./{text}" if bare else text
    if is_file or text in shipped():
        place = f"./{text}" if is_file else FOLDER / f"{text}.txt"
        told = f"{text!r} is taken for a word; the class file of that name is meant by its path, {place}"
        warnings.warn(told, UserWarning, stacklevel=2)
    return None


def split_words(words: object) -> list[list[str]]:
    """Queries of each class. Raises InputError, in words, where there are none or one is empty; reads no file."""
    if isinstance(words, str):
        entries = words.split(",")
    elif isinstance(words, Iterable) and not isinstance(words, bytes | bytearray | Mapping | set | frozenset):
        entries = list(words)
    else:
        raise InputError(f"words are a text or a list of texts, e.g. ['cat', 'dog; puppy'], not {repr(words)}")
    if not any(entry.strip() if isinstance(entry, str) else _has_any(entry) for entry in entries):
        raise InputError(NONE)
    classes = [_queries(entry, words) for entry in entries]
    for entry, queries in zip(entries, classes, strict=True):
        if not queries or not all(isinstance(query, str) and query.strip() for query in queries):
            raise InputError(f"{words!r} has an empty word ({entry!r}); commas separate classes, ';' synonyms of one")
        files = [query.strip() for query in queries if query.strip().lower().endswith(".txt")]
        if files:
            raise InputError(f"{files[0]!r} is the name of a class file and no word; give its path alone, as the words")
    return [[query.strip() for query in queries] for queries in classes]


def _queries(entry: object, words: object) -> list[object]:
    if isinstance(entry, str):
        return entry.split(";")
    if isinstance(entry, list | tuple):
        odd = [query for query in entry if not isinstance(query, str)]
        if not odd:
            return list(entry)
        entry = odd[0]
    raise InputError(f"the words {repr(words)} hold {repr(entry)}, which is no text, nor a list of them")


def _has_any(entry: object) -> bool:
    return not hasattr(entry, "__len__") or len(entry) > 0


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False
