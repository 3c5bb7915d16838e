"""The work of `sclip-seg remember`: features of labelled regions, with their names."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmseg.registry import MODELS
from torch import Tensor

from ..bars import Bar
from ..config import WORDS, load_config
from ..data.files import find_files
from ..data.label_files import read_labels
from ..data.loading import read_picture
from ..data.pictures import SUFFIXES
from ..errors import InputError
from ..handed_in import existing, read_text
from ..picture.finding.samples import feature_maps, neutral
from ..picture.segmentor import OpenVocabSegmentor
from ..regions.memory import RegionMemory, place_of
from ..regions.parts import parts
from ..words.read import read_words
from .remembered import tail_of

IGNORED = (255, 65535)
MOSTLY = 0.5  # share of a patch from which it is a region's
Marked = tuple[str, np.ndarray]
"""A name, and the mask (H, W) of what is called so."""


def remember(options: argparse.Namespace) -> None:
    """Writes the memory, and says what is in it."""
    pictures = pictures_in(options.pictures)
    if options.labels.suffix.lower() == ".json":
        marked = list(clicked(options.labels, pictures))
    else:
        marked = list(mapped(options.labels, pictures, [queries[0] for queries in read_words(options.classes)]))
    config = load_config(options.method, WORDS, options.backbone, options.cfg_options)
    config.model.update(stages=[], text_cache=None)
    model = MODELS.build(config.model).eval().to(get_device())
    neutral(model)
    memory = memory_of(place_of(options.name).stem, model, marked, options.per, {"tail": tail_of(config.model)})
    path = place_of(options.name)
    memory.write(path)
    memory = RegionMemory.load(path)
    told = ", ".join(f"{name} {int((memory.labels == n).sum())}" for n, name in enumerate(memory.names))
    print(f"{told} of {len(memory.labels)} from {memory.shots} pictures: {memory.told}, written to {path}")


def pictures_in(folder: Path) -> dict[str, Path]:
    """By their name below the folder, without the suffix. Raises InputError where there are none."""
    either = (*SUFFIXES, *map(str.upper, SUFFIXES))
    found = {str(Path(name).with_suffix("")): folder / name for name in sorted(find_files(str(folder), either))}
    if not found:
        raise InputError(f"there are no pictures in {folder}")
    return found


def mapped(labels: Path, pictures: dict[str, Path], names: Sequence[str]) -> Iterator[tuple[Path, list[Marked]]]:
    """Each picture that has a label map, with the regions in it. Raises InputError for a value beyond the names."""
    maps = {name: path for name, path in pictures_in(labels).items() if name in pictures}
    if not maps:
        raise InputError(f"no label map in {labels} is called as a picture is")
    for name, path in maps.items():
        values = read_labels(str(path))
        found = parts(values, without=IGNORED)
        if beyond := [label for label, _, _ in found if label >= len(names)]:
            raise InputError(f"the label map {path} has the value {beyond[0]}, and there are {len(names)} classes")
        yield pictures[name], [(names[label], mask) for label, mask, _ in found]


def clicked(path: Path, pictures: dict[str, Path]) -> Iterator[tuple[Path, list[Marked]]]:
    """Each picture that was clicked in. Raises InputError, with the entry, for what is no click."""
    try:
        clicks = json.loads(read_text(existing(path), "the clicks"))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    by_picture: dict[str, list[dict]] = {}
    for number, click in enumerate(clicks if isinstance(clicks, list) else [clicks]):
        what = f"{path}, entry {number}"
        if not isinstance(click, dict) or not all(isinstance(click.get(key), str) for key in ("picture", "name")):
            raise InputError(f"{what}: a click has a picture and a name, and a point or a box")
        stem = str(Path(click["picture"]).with_suffix(""))
        if stem not in pictures:
            raise InputError(f"{what}: there is no picture {click['picture']}")
        by_picture.setdefault(stem, []).append(click | {"what": what})
    for stem, own in by_picture.items():
        size = read_picture(pictures[stem]).shape[:2]
        yield pictures[stem], [(click["name"].strip(), mask_of(click, size)) for click in own]


def mask_of(click: dict, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) of a point or a box. Raises InputError."""
    place = click.get("box", click.get("point"))
    whole = isinstance(place, list) and all(isinstance(side, int | float) and side >= 0 for side in place)
    if not whole or len(place) != (4 if "box" in click else 2):
        raise InputError(f"{click['what']}: a point is [y, x] and a box [top, left, bottom, right], in pixels")
    top, left, bottom, right = map(int, place if "box" in click else (*place, place[0] + 1, place[1] + 1))
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    if not mask.any():
        raise InputError(f"{click['what']}: {place} lies outside the picture, {size[1]} wide and {size[0]} high")
    return mask


@torch.no_grad()
def memory_of(
    name: str,
    model: OpenVocabSegmentor,
    marked: Sequence[tuple[Path, list[Marked]]],
    per: str,
    made: dict[str, str],
) -> RegionMemory:
    """The memory of all that is marked. Raises InputError where nothing is."""
    keys, labels = [], []
    with Bar(marked, desc="remember", unit="picture", leave=False) as bar:
        for path, own in bar:
            pixels = read_picture(path)
            if odd := [mask.shape for _, mask in own if mask.shape != pixels.shape[:2]]:
                raise InputError(f"the labels of {path} have {odd[0]} pixels, and the picture {pixels.shape[:2]}")
            maps = unit_maps(model, pixels)
            for called, mask in own:
                found = keys_of(maps, torch.from_numpy(mask).to(maps), per)
                keys.append(found.cpu())
                labels += [called] * len(found)
    if not labels:
        raise InputError("nothing is labelled in these pictures")
    names = tuple(dict.fromkeys(labels))
    places = torch.tensor([names.index(label) for label in labels])
    made = {"tower": model.backbone.digest, "per": per, **made}
    return RegionMemory(name, torch.cat(keys), places, names, len(marked), made)


@torch.no_grad()
def unit_maps(model: OpenVocabSegmentor, pixels: np.ndarray) -> Tensor:
    """Unit features (D, h, w) of the patches of a picture (H, W, 3), BGR. The model has words (`neutral`)."""
    (image,), _ = model.data_preprocessor.of_pictures([pixels])
    grid = tuple(max(1, side // model.backbone.patch) for side in image.shape[1:])
    return F.normalize(feature_maps(model, image, grid).dense(), dim=0)


def keys_of(maps: Tensor, mask: Tensor, per: str) -> Tensor:
    """Unit features (n, D) of a region, of those patches of `maps` (D, h, w) that are mostly in its `mask` (H, W).

    Or their mean, weighted by how much of each is in it; also where none is by half.
    """
    share = F.adaptive_avg_pool2d(mask[None], maps.shape[1:])[0]
    mostly = share >= MOSTLY
    if per == "patch" and mostly.any():
        return maps[:, mostly].T
    return F.normalize((maps * share).sum((1, 2)), dim=0)[None]
