"""Vocabularies: for each class the strings ("queries") that stand for it."""

import difflib
import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..handed_in import composed, existing, read_text

FOLDER = Path(__file__).parent / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """K classes and their Q queries: what a score is measured with.

    File format: UTF-8, one class a line (the first is class 0), the queries of a class separated by ";".
    Lines that start with "#" are comments; a blank line is an error. Queries are in NFC, as the tokenizer reads them.
    """

    name: str
    classes: tuple[tuple[str, ...], ...]

    @classmethod
    def load(cls, spec: str | Sequence[str | Sequence[str]], name: str | None = None) -> "Vocabulary":
        """From a shipped name, a path to a .txt file, or a list of 'a; b' strings or lists of strings.

        Raises InputError where the spec names nothing or holds an empty line or query; warns where a query
        stands in two classes.
        """
        if isinstance(spec, str):
            path = _path(spec)
            name = name or path.stem
            rows = [(f"{path}, line {number}", line) for number, line in _lines(path)]
            if path.parent != FOLDER:  # in a shipped list they are meant
                _warn_of_commas(rows)
        else:
            name = name or "inline"
            rows = [(f"vocabulary {name}, entry {index}", row) for index, row in enumerate(spec)]
        classes = tuple(_queries(row, where) for where, row in rows)
        if not classes:
            raise InputError(
                f"vocabulary {spec if isinstance(spec, str) else name} is empty: "
                "give one line (or entry) a class, its queries separated by ';'"
            )
        _warn_of_shared_queries(name, classes)
        return cls(name, classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def queries(self) -> tuple[str, ...]:
        """(Q,) all queries, class by class."""
        return tuple(query for queries in self.classes for query in queries)

    @property
    def owner(self) -> tuple[int, ...]:
        """(Q,) the class index of each query."""
        return tuple(index for index, queries in enumerate(self.classes) for _ in queries)

    @property
    def winner(self) -> tuple[int, ...]:
        """(Q,) the lowest class that holds each query, as CLIP's tokenizer reads it: in lower case."""
        first: dict[str, int] = {}
        return tuple(first.setdefault(q.lower(), c) for q, c in zip(self.queries, self.owner, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """(K,) the first query of each class."""
        return tuple(queries[0] for queries in self.classes)

    @property
    def digest(self) -> str:
        """Twelve hex digits over the queries, their order and grouping; the name has no part in it."""
        content = json.dumps(self.classes, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def check(self, classes: Sequence[str]) -> None:
        """Raises InputError when the dataset that names these classes has more or fewer of them."""
        if len(self) == len(classes):
            return
        fitting = [name for name in shipped() if len(_lines(FOLDER / f"{name}.txt")) == len(classes)]
        raise InputError(
            f"vocabulary {self.name} has {len(self)} classes ({_first(self.names)}), the dataset has "
            f"{len(classes)} ({_first(classes)}): line i of the vocabulary must be class i of the dataset"
            + (f"; shipped with {len(classes)} classes: {', '.join(fitting)}" if fitting else "")
        )


def shipped() -> list[str]:
    """The names of the vocabularies that come with the package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def near_names(name: str, names: Sequence[str]) -> str:
    """`; near: ...; shipped: ...`, for an error."""
    near = difflib.get_close_matches(name, names)
    return (f"; near: {', '.join(near)}" if near else "") + f"; shipped: {', '.join(names)}"


def _path(spec: str) -> Path:
    """A shipped name or a path, as a path that exists."""
    if not spec.endswith(".txt") and "/" not in spec:
        if spec in shipped():
            return FOLDER / f"{spec}.txt"
        raise InputError(
            f"no vocabulary named {spec!r}{near_names(spec, shipped())}; "
            "a file of your own is given as a path that ends in .txt"
        )
    path = existing(spec)
    if not path.is_file():
        raise InputError(f"vocabulary file {spec} is missing (working folder {Path.cwd()})")
    return path


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are classes, with their numbers in the file (from 1)."""
    text = read_text(path, "vocabulary file")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]


def _queries(row: str | Sequence[str], where: str) -> tuple[str, ...]:
    """The queries of one class, without the blanks around them."""
    if isinstance(row, str) and not row.strip():
        raise InputError(f"{where}: empty line; every line is a class, so fill it or delete it")
    parts = row.split(";") if isinstance(row, str) else row
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"{where}: {row!r} is no class; give 'query; query' or a list of strings")
    queries = tuple(composed(" ".join(part.split())) for part in parts)
    if not all(queries) or not queries:
        raise InputError(f"{where}: empty query in {row!r}; queries are separated by single ';'")
    keys = [query.lower() for query in queries]
    for query, key in zip(queries, keys, strict=True):
        if keys.count(key) > 1:
            raise InputError(f"{where}: query {query!r} stands twice; once is enough")
    return queries


def _warn_of_commas(rows: Sequence[tuple[str, str]]) -> None:
    """The official code bases separate queries by commas; read here, such a line is one long query."""
    places = [where for where, line in rows if "," in line and ";" not in line]
    if places:
        warnings.warn(
            f"{places[0]}: a comma does not separate queries, ';' does; this line is read as one query"
            + (f" (and {len(places) - 1} more lines)" if places[1:] else ""),
            UserWarning,
            stacklevel=3,
        )


def _warn_of_shared_queries(name: str, classes: Sequence[Sequence[str]]) -> None:
    """One warning that names every query of two classes and says what that does to the score."""
    first: dict[str, int] = {}
    faults = []
    for index, queries in enumerate(classes):
        for query in queries:
            # CLIP's tokenizer lower-cases, so "Bed" and "bed" are one query.
            owner = first.setdefault(query.lower(), index)
            if owner != index:
                effect = "its IoU is 0" if len(queries) == 1 else "only its other queries can win it pixels"
                faults.append(
                    f"query {query!r} stands in class {owner} ({classes[owner][0]}) and in class {index} "
                    f"({queries[0]}): both get the same score from it everywhere and the tie goes to the "
                    f"lower index, so class {index} is never predicted through it ({effect})"
                )
    if faults:
        warnings.warn(f"vocabulary {name}: " + "; ".join(faults), UserWarning, stacklevel=3)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
