"""Reads result files, each checked before anything is made of it; what cannot be used is named and left out.

They may be anybody's. A file is plain data of at most `LARGEST` bytes and `DEEPEST` brackets, and what is no regular
file is not opened.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

NAME = "result.json"
LARGEST = 1 << 22  # bytes of a file; those of sclip-seg test are some 50 KB
DEEPEST = 64  # brackets within brackets
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One result file. `protocol` holds the signature's fields; `iou` the class's IoU in percent or None.

    `coi_miou` is that of the classes of interest, where the benchmark has some.
    """

    path: Path
    method: str
    backbone: str
    dataset: str
    miou: float
    foreground_miou: float | None
    coi_miou: float | None
    aacc: float
    macc: float
    images: int
    images_in_dataset: int
    partial: bool
    signature: str
    protocol: dict[str, str]
    vocabulary: str
    precision: str
    device: str
    seconds: float | None
    iou: dict[str, float | None]
    config: dict
    written: float

    @property
    def few_shot(self) -> bool:
        """Whether labelled pictures were remembered for it (`regions.memory.RegionMemory.told`)."""
        return re.search(r"#\w+,\d+shots", self.protocol.get("memory", "")) is not None


def gather(folders: Sequence[Path], warn: Warn) -> list[Result]:
    """The results below the folders, by path. Raises InputError where a folder is not there or none is left."""
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"no folder {folder}: name one that sclip-seg test has written results into")
    found = sorted({os.path.realpath(path): path for folder in folders for path in _files(folder, warn)}.values())
    results = []
    for path in found:
        try:
            results.append(read(path))
        except InputError as error:
            warn(f"{error}; left out")
    if not results:
        places = ", ".join(map(str, folders))
        why = f"none of the {len(found)} {NAME} below {places} can be used" if found else f"no {NAME} below {places}"
        raise InputError(f"{why}: run sclip-seg test first, e.g. sclip-seg test sclip --dataset voc21")
    return results


def _files(folder: Path, warn: Warn) -> Iterator[Path]:
    """Everything below the folder that is called like a result file; links to folders are not followed."""
    places = os.walk(folder, onerror=lambda error: warn(f"{error.filename}: {error.strerror}; left out"))
    for place, folders, names in places:
        if NAME in (*folders, *names):
            yield Path(place, NAME)


def read(path: Path) -> Result:
    """One file, checked. Raises InputError with the path and what is wrong."""
    data, written = _load(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: it holds no result")

    def take(name: str, check: Callable[[object], bool], kind: str) -> object:
        value: object = data
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                raise InputError(f"{path}: '{name}' is missing")
            value = value[key]
        if not check(value):
            raise InputError(f"{path}: '{name}' is not {kind}: {str(value)[:60]!r}")
        return value

    text = (lambda value: isinstance(value, str) and bool(value.strip()), "a text")
    percent = (is_percent, "a number from 0 to 100")
    count = (lambda value: is_number(value) and isinstance(value, int) and value > 0, "a count")
    signature = take("signature", *text)
    return Result(
        path=path,
        method=take("method", *text),
        backbone=take("backbone.name", *text),
        dataset=take("dataset", *text),
        miou=take("miou", *percent),
        foreground_miou=take("foreground_miou", lambda value: value is None or is_percent(value), percent[1]),
        coi_miou=take("coi_miou", *percent) if "coi_miou" in data else None,
        aacc=take("aacc", *percent),
        macc=take("macc", *percent),
        images=take("images", *count),
        images_in_dataset=take("images_in_dataset", *count),
        partial=take("partial", lambda value: isinstance(value, bool), "true or false"),
        signature=signature,
        protocol=parse_signature(signature),
        vocabulary=f"{take('vocabulary.name', *text)}#{take('vocabulary.digest', *text)}",
        precision=take("precision", *text),
        device=take("device", *text),
        seconds=take("seconds_per_image", lambda value: value is None or is_number(value), "a number"),
        iou={name: row["iou"] for name, row in take("per_class", is_class_table, "a table of classes").items()},
        config=take("config", lambda value: isinstance(value, dict), "a config"),
        written=written,
    )


def _load(path: Path) -> tuple[object, float]:
    """What is in the file, and when it was written."""
    if not os.path.isfile(path):  # a pipe would be waited for
        raise InputError(f"{path}: it is no file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
            written = os.fstat(file.fileno()).st_mtime
        if len(content) > LARGEST:
            raise InputError(f"{path}: it is larger than {LARGEST >> 20} MB, which no result is")
        data = json.loads(content.decode("utf-8-sig"))
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: it cannot be read as JSON: {str(error).splitlines()[0]}") from error
    if _is_deep(data):
        raise InputError(f"{path}: it has more than {DEEPEST} brackets within brackets, which no result has")
    return data, written


def _is_deep(data: object) -> bool:
    """Whether what reads nested data by calling itself could run out of stack."""
    level = [data]
    for _ in range(DEEPEST):
        level = [part for whole in level if isinstance(whole, dict | list) for part in _parts(whole)]
    return bool(level)


def _parts(whole: dict | list) -> Iterable[object]:
    return whole.values() if isinstance(whole, dict) else whole


def parse_signature(signature: str) -> dict[str, str]:
    """`key:value|key:value|...` as a dict; a bar within a value stays there."""
    fields: dict[str, list[str]] = {}
    last = None
    for part in signature.split("|"):
        key, colon, value = part.partition(":")
        if colon and key.isidentifier():
            fields[key], last = [value], key
        elif last:
            fields[last].append(part)
    return {key: "|".join(parts) for key, parts in fields.items()}


def is_number(value: object) -> bool:
    """A finite number that a float can hold to the last unit, truth values aside."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= 2**53


def is_percent(value: object) -> bool:
    """A number from 0 to 100; the last bits of a float may go beyond."""
    return is_number(value) and -1e-6 <= value <= 100 + 1e-6


def is_class_table(value: object) -> bool:
    """`{class: {"iou": percent or None}}`, not empty."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(
            isinstance(row, dict) and "iou" in row and (row["iou"] is None or is_percent(row["iou"]))
            for row in value.values()
        )
    )
