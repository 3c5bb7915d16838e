"""PASCAL Context's labels from its annotations (PASCAL in Detail), each segment a mask in COCO's run lengths."""

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...bars import Bar
from ...errors import InputError
from ...files import reason_of, write_atomically
from ..labels import as_picture
from .codes import translated

PICTURES = "JPEGImages"
PHASES = ("train", "val")


def convert_context(rule: dict, data: Path, force: bool = False) -> str:
    """Makes all labels beside their place and moves them and the lists in; says what was done.

    The lists, of which a run needs val.txt, come last, so that they tell a complete conversion. Raises InputError.
    """
    tree = data / rule["devkit"] / rule["year"]
    labels, lists = tree / rule["labels"], tree / rule["lists"]
    if (lists / "val.txt").is_file() and labels.is_dir() and not force:
        return f"{labels}: it was there (--force makes it anew)"
    if labels.exists() and any(labels.iterdir()) and not force:
        raise InputError(f"{labels} is there but {lists / 'val.txt'} is not; --force makes both anew")
    annotations = data / rule["annotations"]
    for what, path in (("pictures", tree / PICTURES), ("annotations", annotations)):
        if not path.exists():
            raise InputError(f"the {what} {path} are missing; `download` says how to get them")
    if importlib.util.find_spec(rule["package"]) is None:
        raise InputError(f"the conversion needs the package `{rule['package']}`: pip install {rule['package']}")
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=tree) as place:
        draft = Path(place, rule["labels"])
        draft.mkdir()
        names = _draw(annotations, {value: c for c, value in enumerate(rule["values"])}, draft)
        if labels.exists():
            (lists / "val.txt").unlink(missing_ok=True)
            labels.rename(Path(place, "before"))
        draft.rename(labels)
        for phase in PHASES:
            write_atomically(lists / f"{phase}.txt", "".join(f"{name}\n" for name in sorted(names[phase])))
        shutil.rmtree(Path(place, "before"), ignore_errors=True)
    return f"{labels}: {sum(map(len, names.values()))} files written"


def _draw(annotations: Path, table: Mapping[int, int], folder: Path) -> dict[str, list[str]]:
    """Writes each picture's label map; its name, by phase. A pixel that no segment holds has the category 0."""
    from pycocotools.mask import decode

    pictures, segments = _read(annotations)
    names: dict[str, list[str]] = {phase: [] for phase in PHASES}
    for picture in Bar(pictures, desc="converting", unit="picture", dynamic_ncols=True):
        values = np.zeros((picture["height"], picture["width"]), np.int64)
        for segment in segments.get(picture["image_id"], ()):
            values[decode(segment["segmentation"]).astype(bool)] = segment["category_id"]
        name = picture["file_name"].removesuffix(".jpg")
        labels = translated(values, table, None, Path(f"{annotations}, {picture['file_name']}"))
        as_picture(labels).save(folder / f"{name}.png")
        names[picture["phase"]].append(name)
    return names


def _read(annotations: Path) -> tuple[list[dict], dict[int, list[dict]]]:
    """The pictures of both phases, and the segments of each by its number, in the order in which they are drawn."""
    try:
        facts = json.loads(annotations.read_text(encoding="utf-8"))
        segments: dict[int, list[dict]] = {}
        for segment in facts["annos_segmentation"]:
            segments.setdefault(segment["image_id"], []).append(segment)
        return [picture for picture in facts["images"] if picture["phase"] in PHASES], segments
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the annotations {annotations} cannot be read: {reason_of(error, str(annotations))}"
        ) from error
