"""Downloads brought into the form that is evaluated, by a rule of the catalogue.

    pictures: {from: raw/{name}.tif, to: set/images/{name}.png}
    labels: {from: raw/{name}_mask.tif, to: set/labels/{name}.png, colours: [[0, 0, 0, 0], [255, 0, 0, 1]]}

Paths are patterns (patterns.py), a label's codes are read by its kind (codes.py). Both may be cut into `tiles`, or made
smaller until the short side has `short_side` pixels; `only` chooses files by a field of their path, `listed` by a list.
A file that changes in nothing but its place is shared with the download where the disk can do that.
"""

from collections.abc import Callable
from functools import lru_cache, partial
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
from .patterns import Match, chosen, fill, find
from .tiles import Tiles

Read = Callable[[Path], np.ndarray]


def plan_reshaping(rule: dict, data: Path, first: int | None = None) -> list[Job]:
    """The files to be made, of the first pictures or of all: pictures, then labels. Raises InputError."""
    jobs = []
    for kind in ("pictures", "labels"):
        if kind not in rule:
            continue
        found = _found(rule[kind]["from"], rule, data)[:first]
        if _stays(rule, rule[kind]):
            jobs += [Job(data / fill(rule[kind]["to"], match.fields), partial(share, match.path)) for match in found]
        else:
            jobs += _drawn(kind, rule, found, data)
    return jobs


def _found(pattern: str, rule: dict, data: Path) -> list[Match]:
    found = chosen(find(pattern, data), rule.get("only", {}))
    if "listed" not in rule:
        return found
    field, file, suffix = (rule["listed"].get(key, "") for key in ("field", "file", "suffix"))
    if not (data / file).is_file():
        raise InputError(f"the list file {data / file} is missing; `download` says how to get it")
    listed = {name.removesuffix(suffix) for name in read_list(str(data / file))}
    return [match for match in found if match.fields[field] in listed]


def _stays(rule: dict, own: dict) -> bool:
    """Whether what is in a file stays as it is."""
    return (
        not {"tiles", "short_side"} & rule.keys()
        and own.keys() == {"from", "to"}
        and _suffix(own["from"]) == _suffix(own["to"])
    )


def _suffix(pattern: str) -> str:
    return PurePosixPath(pattern).suffix


def _drawn(kind: str, rule: dict, found: list[Match], data: Path) -> list[Job]:
    """Jobs that read pixels; those of one file follow each other, so that it is read once."""
    is_picture, side = kind == "pictures", rule.get("short_side")
    read = partial(_pixels, rule[kind]) if is_picture else reader(rule[kind], data)
    if side:
        how = cv2.INTER_LINEAR if is_picture else cv2.INTER_NEAREST
        read = partial(_shrunk, read, side, how)
    read, write = lru_cache(maxsize=1)(read), _write_pixels if is_picture else _write_labels
    if "tiles" not in rule:
        return [Job(data / fill(rule[kind]["to"], m.fields), partial(_make, read, write, m.path)) for m in found]
    tiles = Tiles(**{key: tuple(value) if key != "edge" else value for key, value in rule["tiles"].items()})
    filling = 0 if is_picture else IGNORE
    return [
        Job(
            data / fill(rule[kind]["to"], match.fields | place),
            partial(_make, partial(_tile, read, tiles, place, filling), write, match.path),
        )
        for match in found
        for place in tiles.places(*_size(match.path))
    ]


def _size(path: Path) -> tuple[int, int]:
    try:
        return read_header(path.read_bytes()).size
    except InputError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _make(read: Read, write: Callable[[np.ndarray, Path], None], source: Path, target: Path) -> None:
    write(read(source), target)


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
