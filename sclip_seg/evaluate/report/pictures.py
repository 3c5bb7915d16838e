"""The same few pictures under every method: label maps that sclip-seg test kept, a few always, all with --out.

`places` says which of the paths in a result file are followed.
"""

import base64
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...data.loading import read_picture
from ...drawing import overlay
from ...errors import InputError
from ..work_folder import SAMPLES
from .gather import NAME, Result, Warn
from .grid import Grid, title_of
from .places import LARGEST, Allowed, Places, places, saved_to

SIDE = 200  # pixels of a panel's longer side
OPACITY = 0.8
BACKGROUND = "background"


@dataclass(frozen=True)
class Panel:
    """A picture as a data URI with its size, and what it shows."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """Panels of one dataset, a list a picture, and the classes that occur with their colours."""

    title: str
    names: list[str]
    rows: list[list[Panel]]
    legend: list[tuple[str, str]]


def galleries(grid: Grid, folders: Sequence[Path], count: int, allowed: Allowed, warn: Warn) -> list[Gallery]:
    """One for each dataset whose label maps lie in the folders. Raises InputError for a folder that fits no result."""
    titles = {cell.result.path: (row, cell.result) for row, cell in grid.cells}
    shown: dict[str, list[tuple[str, Path, Result]]] = defaultdict(list)
    for folder in folders:
        row, result = _owner(folder, titles)
        shown[result.dataset].append((f"{row.title}, {row.backbone}", folder, result))
    found = []
    for dataset in grid.datasets:
        if dataset in shown:
            gallery = _gallery(dataset, shown[dataset], count, allowed, warn)
            found += [gallery] if gallery else []
    return found


def kept_labels(grid: Grid, allowed: Allowed) -> list[Path]:
    """The folders of label maps that lie beside the results, or where their configs say, within what is allowed."""
    found = []
    for _, cell in grid.cells:
        told = saved_to(cell.result)
        folders = [told] if told and allowed.holds(told) else []
        folders += [cell.result.path.parent / name for name in ("labels", SAMPLES)]
        found += [folder for folder in folders if _maps(folder)][:1]
    return found


def _maps(folder: Path) -> set[str]:
    """The label maps of a folder, relative to it; sclip-seg test makes no links, so that none is followed."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names if name.endswith(".png"))
    return {path.relative_to(folder).as_posix() for path in found if not path.is_symlink()}


def _owner(folder: Path, titles: dict) -> tuple:
    """The row and result that a folder of label maps belongs to."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder} of label maps (--labels)")
    place = os.path.realpath(folder)
    for row, result in titles.values():
        told = saved_to(result)
        if os.path.dirname(place) == os.path.realpath(result.path.parent) or (told and os.path.realpath(told) == place):
            return row, result
    raise InputError(f"the label maps {folder} belong to no result shown here: {NAME} should lie beside the folder")


def _gallery(
    dataset: str, shown: list[tuple[str, Path, Result]], count: int, allowed: Allowed, warn: Warn
) -> Gallery | None:
    """The first pictures that every folder has; None, after a warning, where that cannot be drawn."""
    title = title_of(dataset)
    common = set.intersection(*(_maps(folder) for _, folder, _ in shown))
    if not common:
        warn(f"{title}: no picture has label maps in all of {', '.join(str(f) for _, f, _ in shown)}")
        return None
    try:
        data = places(shown[0][2], allowed)
    except (InputError, OSError) as error:  # a dataset that has moved: the report does without its pictures
        warn(f"{title}: its pictures cannot be shown: {str(error).splitlines()[0]}")
        return None
    rows, names, occurring = [], [], set()
    for name in sorted(common):
        files = data.of(name)
        if files is None:
            continue
        try:
            panels, present = _panels(*files, [(title, folder / name) for title, folder, _ in shown], data)
        except (InputError, OSError, ValueError) as error:
            warn(f"{title}: {str(error).splitlines()[0]}; picture left out")
            continue
        rows.append(panels)
        names.append(name.removesuffix(".png"))
        occurring |= present
        if len(rows) == count:
            break
    known = [c for c in sorted(occurring) if c < len(data.classes)]
    bare = background_of(data)
    legend = [(f"{data.classes[c]} (not painted)", "") for c in known if c == bare]
    legend += [(data.classes[c], "#{:02x}{:02x}{:02x}".format(*data.palette[c])) for c in known if c != bare]
    if not rows:
        warn(f"{title}: the label maps belong to no picture in {data.pictures}")
    return Gallery(title, names, rows, legend) if rows else None


def _panels(picture: Path, label: Path, maps: list[tuple[str, Path]], data: Places) -> tuple[list[Panel], set[int]]:
    """Picture, label and predictions, with the classes in the latter two."""
    for path in (picture, label, *(path for _, path in maps)):
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise InputError(f"{path} is no file of up to {LARGEST >> 20} MB")
    pixels = read_picture(picture)[..., ::-1]
    panels, present = [_panel("picture", pixels)], set()
    for title, path in [("label", label), *maps]:
        labels = data.labels_in(path)
        present |= {int(c) for c in np.unique(labels)}
        fits = labels.shape == pixels.shape[:2]  # CLIPtrase's own protocol cuts a square out
        below = pixels if fits else np.full((*labels.shape, 3), 255, np.uint8)
        panels.append(_panel(title, overlay(below, labels, data.palette, OPACITY, background_of(data))))
    return panels, present


def background_of(data: Places) -> int | None:
    """The class that is left unpainted, by its name, which is the same everywhere."""
    return data.classes.index(BACKGROUND) if BACKGROUND in data.classes else None


def _panel(title: str, pixels: np.ndarray) -> Panel:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return Panel(title, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", *image.size)
