"""The same few pictures under every method: label maps that tools/test.py kept with --out."""

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image, ImageOps

from sclip_seg.drawing import overlay
from sclip_seg.errors import InputError
from sclip_seg.label_files import read_labels
from sclip_seg.labels import LabelRule

from .gather import NAME, Result, Warn
from .grid import Grid, title_of

SIDE = 200  # pixels of a panel's longer side
OPACITY = 0.8


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


def galleries(grid: Grid, folders: Sequence[Path], count: int, warn: Warn) -> list[Gallery]:
    """One for each dataset whose label maps lie in the folders. Raises InputError for a folder that fits no result."""
    titles = {cell.result.path: (row, cell.result) for row, cell in grid.cells}
    shown: dict[str, list[tuple[str, Path, Result]]] = defaultdict(list)
    for folder in folders:
        row, result = _owner(folder, titles)
        shown[result.dataset].append((f"{row.title}, {row.backbone}", folder, result))
    found = []
    for dataset in grid.datasets:
        if dataset in shown:
            gallery = _gallery(dataset, shown[dataset], count, warn)
            found += [gallery] if gallery else []
    return found


def kept_labels(grid: Grid) -> list[Path]:
    """The folders of label maps that lie beside the results, or where their configs say."""
    found = []
    for _, cell in grid.cells:
        folders = [path for path in (saved_to(cell.result), cell.result.path.parent / "labels") if path]
        found += [path for path in folders if path.is_dir() and any(path.rglob("*.png"))][:1]
    return found


def saved_to(result: Result) -> Path | None:
    """The folder that a run was told to write its label maps into."""
    hooks = result.config.get("custom_hooks") or ()
    named = [hook.get("folder") for hook in hooks if isinstance(hook, dict) and hook.get("type") == "SaveLabels"]
    return Path(named[0]) if named and isinstance(named[0], str) else None


def _owner(folder: Path, titles: dict) -> tuple:
    """The row and result that a folder of label maps belongs to."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder} of label maps (--labels)")
    place = folder.resolve()
    for row, result in titles.values():
        told = saved_to(result)
        if place.parent == result.path.parent.resolve() or (told and told.resolve() == place):
            return row, result
    raise InputError(f"the label maps {folder} belong to no result shown here: {NAME} should lie beside the folder")


def _gallery(dataset: str, shown: list[tuple[str, Path, Result]], count: int, warn: Warn) -> Gallery | None:
    """The first pictures that every folder has; None, after a warning, where that cannot be drawn."""
    common = set.intersection(*({p.relative_to(f).as_posix() for p in f.rglob("*.png")} for _, f, _ in shown))
    if not common:
        warn(f"{title_of(dataset)}: no picture has label maps in all of {', '.join(str(f) for _, f, _ in shown)}")
        return None
    config = shown[0][2].config.get("dataset")
    try:
        init_default_scope("mmseg")
        data = DATASETS.build({**config, "pipeline": [], "test_mode": True, "lazy_init": False})
        items = {_stem(item["img_path"], data): item for item in data.load_data_list()}
    except Exception as error:  # a dataset that has moved: the report does without its pictures
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        warn(f"{title_of(dataset)}: its pictures cannot be shown: {reason}")
        return None
    classes, palette = data.metainfo["classes"], data.metainfo["palette"]
    rows, names, occurring = [], [], set()
    for name in sorted(common & items.keys())[:count]:
        try:
            panels, present = _panels(items[name], [(title, folder / name) for title, folder, _ in shown], palette)
        except (InputError, OSError) as error:
            warn(f"{title_of(dataset)}: {error}; picture left out")
            continue
        rows.append(panels)
        names.append(name.removesuffix(".png"))
        occurring |= present
    legend = [(classes[c], "#{:02x}{:02x}{:02x}".format(*palette[c])) for c in sorted(occurring) if c < len(classes)]
    if not rows:
        warn(f"{title_of(dataset)}: the label maps belong to no picture of {config.get('data_root')}")
    return Gallery(title_of(dataset), names, rows, legend) if rows else None


def _stem(picture: str, data: object) -> str:
    """A picture's label map, relative to the folder that tools/test.py writes into."""
    folder, path = Path(data.data_prefix["img_path"]), Path(picture)
    return (path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)).with_suffix(".png").as_posix()


def _panels(item: dict, maps: list[tuple[str, Path]], palette: Sequence) -> tuple[list[Panel], set[int]]:
    """Picture, label and predictions, with the classes in the latter two."""
    rule = LabelRule.of(item)
    with Image.open(item["img_path"]) as file:
        picture = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    panels, present = [_panel("picture", picture)], set()
    for title, path in [("label", Path(item["seg_map_path"])), *maps]:
        labels = rule.classes_of(read_labels(str(path)))
        present |= {int(c) for c in np.unique(labels)}
        fits = labels.shape == picture.shape[:2]  # CLIPtrase's own protocol cuts a square out
        below = picture if fits else np.full((*labels.shape, 3), 255, np.uint8)
        panels.append(_panel(title, overlay(below, labels, palette, OPACITY)))
    return panels, present


def _panel(title: str, pixels: np.ndarray) -> Panel:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return Panel(title, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", *image.size)
