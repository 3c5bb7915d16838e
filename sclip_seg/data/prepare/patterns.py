"""Paths with fields: `LoveDA/Val/{place}/masks_png/{name}.png` finds files, and the fields make the names of others.

A field stands for one part of a path between slashes, or a piece of one; `{name/}` may hold folders as well.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..files import find_files

FIELD = re.compile(r"\{(\w+)(/?)\}")


@dataclass(frozen=True)
class Match:
    """A file that a pattern finds, and what its fields are there."""

    path: Path
    fields: dict[str, str]


def find(pattern: str, data: Path) -> list[Match]:
    """Every file below `data` that the pattern describes, in the order of their paths. Raises InputError for none."""
    top = data / root(pattern)
    if not top.is_dir():
        raise InputError(f"the folder {top} is missing; `download` says how to get it")
    described = _expression(pattern)
    found = []
    for name in find_files(str(top), (Path(pattern).suffix,)):
        matched = described.fullmatch(f"{root(pattern)}/{name}")
        if matched:
            found.append(Match(top / name, matched.groupdict()))
    if not found:
        raise InputError(f"there is nothing to convert: no {data / pattern}; `download` says how to get it")
    return sorted(found, key=lambda match: match.path)


def fill(pattern: str, fields: Mapping[str, object]) -> Path:
    """The path that the fields make of a pattern."""
    return Path(FIELD.sub(lambda field: str(fields[field[1]]), pattern))


def root(pattern: str) -> str:
    """The folder that all it describes lies in: the path up to the part that has the first field."""
    parts = pattern.split("/")
    return "/".join(parts[: next(index for index, part in enumerate(parts) if "{" in part)])


def chosen(found: Sequence[Match], only: Mapping[str, Sequence[str]]) -> list[Match]:
    """Those whose fields have one of the values that `only` gives them. Raises InputError where a value has no file."""
    for field, values in only.items():
        absent = sorted(set(values) - {match.fields[field] for match in found})
        if absent:
            raise InputError(f"there is no file whose {field} is {absent[0]} beside {found[0].path}")
    return [match for match in found if all(match.fields[field] in values for field, values in only.items())]


def _expression(pattern: str) -> re.Pattern:
    pieces, place = [], 0
    for field in FIELD.finditer(pattern):
        pieces += [re.escape(pattern[place : field.start()]), f"(?P<{field[1]}>{'.+' if field[2] else '[^/]+'})"]
        place = field.end()
    return re.compile("".join([*pieces, re.escape(pattern[place:])]))
