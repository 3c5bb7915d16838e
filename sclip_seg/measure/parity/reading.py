"""From the files of a folder to cases: readers by the names of files, cases by the names of keys.

A reader is registered for the names that it knows (`reads`). It looks at the keys that its file has, says which of
them belong to which case, and how the case is compared. What it leaves out is named as unknown.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .names import UnknownName
from .outcome import Outcome, Part, Unknown, factor
from .reference import Reference, told

Compare = Callable[[], Iterator[Part]]


class File:
    """A file of the reference: arrays by key, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.arrays = np.load(path)
        if not isinstance(self.arrays, np.lib.npyio.NpzFile):
            raise ValueError("this is no archive of arrays")

    @property
    def keys(self) -> list[str]:
        """Of all arrays."""
        return self.arrays.files

    def __contains__(self, key: str) -> bool:
        return key in self.arrays.files

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def close(self) -> None:
        """Lets the file go."""
        self.arrays.close()

    def grouped(self, parts: Iterable[str], aside: Iterable[str] = ()) -> "list[Group]":
        """The keys `HEAD` and `HEAD.PART`, head by head in the file's order, but for those `aside`.

        A key that only prolongs another's head, `HEAD.OTHER`, belongs to none.
        """
        heads: dict[str, dict[str, str]] = {}
        parts = sorted(parts, key=len, reverse=True)
        for key in self.keys:
            if key not in aside:
                part = next((part for part in parts if key.endswith(f".{part}")), "")
                heads.setdefault(key[: -len(part) - 1] if part else key, {})[part] = key
        groups = {head: Group(self, head, keys) for head, keys in heads.items()}
        for group in groups.values():
            group.above = next((groups[head] for head in _shorter(group.head) if head in groups), None)
        return [group for group in groups.values() if [*group.keys] != [""] or group.above is None]


def _shorter(head: str) -> Iterator[str]:
    """`a.b.c` -> `a.b`, `a`."""
    while "." in head:
        head = head.rpartition(".")[0]
        yield head


@dataclass
class Group:
    """The arrays of one head by part, `""` being the head's own; `above` has the nearest head that it prolongs."""

    file: File
    head: str
    keys: dict[str, str]
    above: "Group | None" = None

    def __contains__(self, part: str) -> bool:
        return part in self.keys

    def __getitem__(self, part: str) -> np.ndarray:
        return self.file[self.keys[part]]

    def get(self, part: str) -> np.ndarray | None:
        """An array of this head, or None."""
        return self.file[self.keys[part]] if part in self.keys else None

    @property
    def beyond(self) -> str:
        """What the head adds to the one above, `rho0.6` of `g2x2.rho0.6`; `""` where there is none above."""
        return "" if self.above is None else self.head.removeprefix(f"{self.above.head}.")

    @property
    def root(self) -> "Group":
        """The shortest head that it prolongs, or itself."""
        return self if self.above is None else self.above.root

    def gives(self, part: str) -> bool:
        """Whether there is such an array to be `given`."""
        return part in self or (self.above is not None and self.above.gives(part))

    def given(self, part: str) -> np.ndarray:
        """An array of this head, or else of the head that it prolongs: `g2x2.rho0.6` shares the inputs of `g2x2`."""
        if part in self:
            return self[part]
        if self.above is None:
            raise ValueError(f"{self.head} has no .{part}")
        return self.above.given(part)

    def check(self, kind: str, name: str, parts: Iterable[str], compare: Compare) -> "Check":
        """A case over some of the arrays."""
        return Check(kind, name, [self.keys[part] for part in parts if part in self], compare)


@dataclass(frozen=True)
class Check:
    """A case: the keys that it compares, and how. UnknownName says that it cannot know what they are."""

    kind: str
    name: str
    keys: list[str]
    compare: Compare


Reader = Callable[..., Iterator[Check]]
READERS: dict[str, Reader] = {}


def reads(pattern: str) -> Callable[[Reader], Reader]:
    """Registers `reader(reference, file, *groups)` for files whose whole name fits the pattern."""

    def register(reader: Reader) -> Reader:
        READERS[pattern] = reader
        return reader

    return register


def reader_of(name: str) -> tuple[Reader, tuple[str | None, ...]] | None:
    """Who reads a file, and the groups of the pattern; of several patterns that fit, the longest."""
    for pattern in sorted(READERS, key=len, reverse=True):
        match = re.fullmatch(pattern, name)
        if match:
            return READERS[pattern], match.groups()
    return None


def examined(reference: Reference, path: Path) -> Iterator[Outcome | Unknown]:
    """Every case of a file. What breaks one of them is its outcome, and the others go on."""
    found = reader_of(path.stem)
    if found is None:
        yield Unknown(path.stem)
        return
    reader, groups = found
    try:
        file = File(path)
    except Exception as error:
        yield _broken("file", path.stem, error)
        return
    left = set(file.keys)
    try:
        for check in reader(reference, file, *groups):
            left -= {*check.keys}
            yield from _run(check, file, factor(reference.device))
    except UnknownName as error:
        yield Unknown(file.name, reason=str(error))
        return
    except Exception as error:
        yield _broken("file", path.stem, error)
        return
    finally:
        file.close()
    yield from (Unknown(file.name, key) for key in file.keys if key in left)


@torch.no_grad()
def _run(check: Check, file: File, factor: float) -> list[Outcome | Unknown]:
    outcomes: list[Outcome | Unknown] = []
    try:
        for part, gap, tolerance in check.compare():
            outcomes.append(Outcome(check.kind, f"{check.name} {part}".strip(), gap, tolerance * factor))
    except UnknownName as error:
        return [Unknown(file.name, key, str(error)) for key in check.keys]
    except Exception as error:
        outcomes.append(_broken(check.kind, check.name, error))
    return outcomes


def _broken(kind: str, name: str, error: Exception) -> Outcome:
    return Outcome(kind, name, float("nan"), 0.0, told(error))
