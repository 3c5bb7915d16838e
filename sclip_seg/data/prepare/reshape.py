"""Downloads brought into the form that is evaluated, by a rule of the catalogue.

    pictures: {from: raw/{name}.tif, to: set/images/{name}.png}
    labels: {from: raw/{name}_mask.tif, to: set/labels/{name}.png, colours: [[0, 0, 0, 0], [255, 0, 0, 1]]}

Paths are patterns (patterns.py), a label's codes are read by its kind (codes.py). Both may be cut into `tiles`, or made
smaller until the short side has `short_side` pixels; `only` chooses files by a field of their path, `listed` by a list.
A file that changes in nothing but its place is shared with the download where the disk can do that.
"""

from collections.abc import Callable
from functools import lru_cache, partial, reduce
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from ...errors import InputError
from ..bands import read_bands
from ..files import read_list
from ..headers import read_header
from ..labels import IGNORE, as_picture
from ..loading import read_picture
from .codes import reader
from .job import Job, share
from .patterns import FIELD, Match, chosen, fill, find
from .tiles import Tiles

Read = Callable[[Path], np.ndarray]


def plan_reshaping(rule: dict, data: Path, first: int | None = None) -> list[Job]:
    """The files to be made, of the first pictures or of all: pictures, then labels. Raises InputError."""
    jobs = []
    for kind in ("pictures", "labels"):
        if kind not in rule:
            continue
        sources = _together(_found(rule[kind]["from"], rule, data), rule[kind]["to"])[:first]
        if _stays(rule, rule[kind]) and all(len(of_one) == 1 for of_one in sources):
            shared = [of_one[0] for of_one in sources]
            jobs += [Job(data / fill(rule[kind]["to"], match.fields), partial(share, match.path)) for match in shared]
        else:
            jobs += _drawn(kind, rule, sources, data)
    return jobs


def _found(pattern: str, rule: dict, data: Path) -> list[Match]:
    found = chosen(find(pattern, data), rule.get("only", {}))
    if "listed" not in rule:
        return found
    listed = _listed(rule["listed"], data)
    return [match for match in found if match.fields[rule["listed"]["field"]] in listed]


def _listed(rule: dict, data: Path) -> set[str]:
    """The names in a list file, without folders and the `suffix`.

    With another file of `flags` the lines of both begin with a picture's number, and those whose flag is 0 are meant.
    """
    lines, flags = (_lines(data / rule[key]) if key in rule else [] for key in ("file", "flags"))
    if flags:
        meant = {number for number, flag in map(str.split, flags) if flag == "0"}
        lines = [path for number, path in map(str.split, lines) if number in meant]
    return {PurePosixPath(line).name.removesuffix(rule.get("suffix", "")) for line in lines}


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(f"the list file {file} is missing; `download` says how to get it")
    return read_list(str(file))


def _together(found: list[Match], to: str) -> list[list[Match]]:
    """Files of one target, as the fields in its path tell them apart, in the order of the first of each."""
    groups: dict[tuple, list[Match]] = {}
    for match in found:
        groups.setdefault(tuple(match.fields.get(name) for name, _ in FIELD.findall(to)), []).append(match)
    return list(groups.values())


def _stays(rule: dict, own: dict) -> bool:
    """Whether what is in a file stays as it is."""
    return (
        not {"tiles", "short_side"} & rule.keys()
        and own.keys() == {"from", "to"}
        and _suffix(own["from"]) == _suffix(own["to"])
    )


def _suffix(pattern: str) -> str:
    return PurePosixPath(pattern).suffix


def _drawn(kind: str, rule: dict, sources: list[list[Match]], data: Path) -> list[Job]:
    """Jobs that read pixels; those of one file follow each other, so that it is read once."""
    is_picture, side = kind == "pictures", rule.get("short_side")
    read = partial(_pixels, rule[kind]) if is_picture else reader(rule[kind], data)
    if side:
        how = cv2.INTER_LINEAR if is_picture else cv2.INTER_NEAREST
        read = partial(_shrunk, read, side, how)
    read, write = lru_cache(maxsize=1)(read), _write_pixels if is_picture else _write_labels
    to = rule[kind]["to"]
    if "tiles" not in rule:
        paths = [(of_one[0].fields, [match.path for match in of_one]) for of_one in sources]
        return [Job(data / fill(to, fields), partial(_make, read, write, files)) for fields, files in paths]
    tiles = Tiles(**{key: tuple(value) if key != "edge" else value for key, value in rule["tiles"].items()})
    filling = 0 if is_picture else IGNORE
    return [
        Job(
            data / fill(to, match.fields | place),
            partial(_make, partial(_tile, read, tiles, place, filling), write, [match.path]),
        )
        for (match,) in sources
        for place in tiles.places(*_size(match.path))
    ]


def _size(path: Path) -> tuple[int, int]:
    try:
        return read_header(path.read_bytes()).size
    except InputError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _make(read: Read, write: Callable[[np.ndarray, Path], None], sources: list[Path], target: Path) -> None:
    """Of several label maps for one picture, as of each person in it, the higher class lies on top."""
    write(reduce(np.maximum, map(read, sources)), target)


def _tile(read: Read, tiles: Tiles, place: dict[str, int], filling: int, path: Path) -> np.ndarray:
    return tiles.cut(read(path), place, filling)


def _pixels(own: dict, path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR."""
    return read_bands(path, own["bands"], own.get("white")) if "bands" in own else read_picture(path)


def _shrunk(read: Read, side: int, how: int, path: Path) -> np.ndarray:
    """The short side at so many pixels, where it has more; rounded as the published preparation rounds."""
    pixels = read(path)
    height, width = pixels.shape[:2]
    if min(height, width) <= side:
        return pixels
    size = (round(width / height * side), side) if width >= height else (side, round(height / width * side))
    return cv2.resize(pixels, size, interpolation=how)


def _write_pixels(pixels: np.ndarray, target: Path) -> None:
    Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).save(target, format="PNG")


def _write_labels(labels: np.ndarray, target: Path) -> None:
    as_picture(labels).save(target, format="PNG")
