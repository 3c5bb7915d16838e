"""A memory that grows region by region, as somebody points at them; and a model that is blended with it.

Of a region the patches that are mostly in it are kept under its name. A memory of one name alone would give every
patch to it, so some of what else is in the picture is kept as well, as nothing that has a name (`regions.memory.REST`):
it takes votes and gives none. What is named later is no longer part of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.loading import read_picture
from ..errors import InputError
from ..picture.finding.samples import neutral
from ..picture.segmentor import OpenVocabSegmentor
from ..regions.memory import REGIONS, REST, RegionMemory
from ..regions.parts import parts
from ..registry import STAGES
from .remember import keys_of, unit_maps

PICTURES = "pictures"
KEPT = 32  # patches of a region, and as many of what else is in its picture; of more, as many evenly taken
SAME = 0.999  # cosine from which two patches are one
MOST_REGIONS, MOST_NAMES, LONGEST = 40, 32, 80
MOST_KEYS, WIDEST, MOST_BROUGHT = 20_000, 4096, 200  # keys, their numbers, and names of a memory that is brought


def region_at(labels: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) of the part of the labels (H, W) that hangs together around a point (y, x). Raises InputError."""
    if not all(0 <= place < side for place, side in zip(point, labels.shape, strict=True)):
        raise InputError(f"the point x={point[1]}, y={point[0]} lies outside the picture")
    inside = labels == labels[point]
    return next(mask for _, mask, _ in parts(inside.astype(np.uint8), without=(0,)) if mask[point])


def with_region(
    memory: RegionMemory | None,
    model: OpenVocabSegmentor,
    picture: np.ndarray,
    mask: np.ndarray,
    called: str,
    made: dict[str, str],
) -> RegionMemory:
    """The memory, or a new one, with one region more: of a picture (H, W, 3) uint8 RGB the `mask` (H, W).

    Args:
        made: with what, beside the tower (`RegionMemory.made`).
    Raises:
        InputError: a name that is none, a memory that is full or of another tower or method.
    """
    called = name_of(called)
    made = {"tower": model.backbone.digest, "per": "patch", **made}
    if memory is not None:
        check_made(memory, made)
    if memory is not None and memory.regions >= MOST_REGIONS:
        raise InputError(f"{MOST_REGIONS} regions are remembered, and more do not fit")
    neutral(model)
    maps = unit_maps(model, read_picture(picture))
    inside = torch.from_numpy(mask).to(maps)
    region = keys_of(maps, inside, "patch").cpu()
    untouched = F.adaptive_avg_pool2d(inside[None], maps.shape[1:])[0] == 0
    others = maps[:, untouched].T.cpu()
    return grown(memory, region, others, called, hashlib.sha256(picture.tobytes()).hexdigest()[:12], made)


def grown(
    memory: RegionMemory | None, region: Tensor, others: Tensor, called: str, picture: str, made: dict[str, str]
) -> RegionMemory:
    """The memory with the patches of a `region` (n, D), and `others` (m, D) of its `picture`, if that is a new one."""
    names: list[str] = [REST] if memory is None else list(memory.names)
    if called.lower() not in map(str.lower, names):
        names.append(called)
    if memory is not None and memory.keys.shape[1] != region.shape[1]:
        raise InputError(f"the memory has keys of {memory.keys.shape[1]} numbers, not {region.shape[1]}")
    if len(names) - (REST in names) > MOST_NAMES:
        raise InputError(f"{MOST_NAMES} names are remembered, and more do not fit")
    label = [name.lower() for name in names].index(called.lower())
    seen = [] if memory is None else [one for one in memory.made.get(PICTURES, "").split(",") if one]
    keys, labels = (region[:0], torch.empty(0, dtype=torch.long)) if memory is None else (memory.keys, memory.labels)
    if REST in names:
        kept = (labels != names.index(REST)) | ~_among(keys, region)
        keys, labels = keys[kept], labels[kept]
    more = [(region, label)]
    if picture not in seen and REST in names:
        more.append((others[~_among(others, torch.cat([keys, region]))], names.index(REST)))
    for part, own in more:
        part = _thinned(part)
        keys, labels = torch.cat([keys, part]), torch.cat([labels, torch.full((len(part),), own)])
    shots = (0 if memory is None else memory.shots) + (picture not in seen)
    told = {**made, PICTURES: ",".join(dict.fromkeys([*seen, picture]))}
    if memory is None or memory.regions:  # else it was made of whole pictures, which are what is counted
        told[REGIONS] = str(1 + (0 if memory is None else memory.regions))
    return RegionMemory("own" if memory is None else memory.name, keys, labels, tuple(names), shots, told)


def name_of(text: str) -> str:
    """A name as it is typed. Raises InputError for what is none."""
    name = " ".join(text.split())
    if not name:
        raise InputError("say what the region is called")
    if len(name) > LONGEST:
        raise InputError(f"a name has at most {LONGEST} characters, and this one has {len(name)}")
    if any(mark in name for mark in ",;") or not name.isprintable():
        raise InputError(f"{name!r} is not one name: it has a comma, a semicolon, or what cannot be shown")
    return name


def check_made(memory: RegionMemory, made: dict[str, str]) -> None:
    """Raises InputError where features of a memory are not those that are `made` here."""
    if memory.made.get("tower") != made["tower"]:
        raise InputError("the memory was made with another backbone")
    if memory.made.get("tail") != made["tail"]:
        raise InputError(f"the memory is of features by {memory.made.get('tail')}, and {made['tail']} gives others")


def brought(path: Path, called: str) -> RegionMemory:
    """The memory in a file that is brought, `called` so by its owner. Raises InputError, also for a large one."""
    try:
        memory = RegionMemory.load(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), called)) from error
    count, width = memory.keys.shape
    if count > MOST_KEYS or width > WIDEST or len(memory.names) > MOST_BROUGHT:
        raise InputError(
            f"{called} has {count} keys of {width} numbers and {len(memory.names)} names; at most {MOST_KEYS}, "
            f"{WIDEST} and {MOST_BROUGHT} are taken"
        )
    for name in memory.own_names:
        if len(name) > LONGEST or not name.isprintable():
            raise InputError(f"{called} holds {name[:LONGEST]!r}, which is not a name")
    return replace(memory, name="own")


@contextmanager
def remembering(
    model: OpenVocabSegmentor, memory: RegionMemory | None, weight: float, silent: Sequence[str]
) -> Iterator[None]:
    """Within it, words that are set are blended with the memory; `silent`: classes whose words are not asked.

    The words that were set go with it.
    """
    if memory is None:
        yield
        return
    stages, scale = model.stages, model.logit_scale
    known = {name.lower() for name in memory.own_names}
    own = [name for name in silent if name.lower() in known]
    stage = STAGES.build(dict(type="Memory", memory=memory, weight=weight, scale=scale, wordless=own))
    model.stages = torch.nn.ModuleList([*stages, stage])
    model.logit_scale = None
    try:
        yield
    finally:
        model.stages, model.logit_scale = stages, scale


def _among(some: Tensor, others: Tensor) -> Tensor:
    """Which of some unit features (n, D) are among others (m, D), (n,)."""
    if not len(others) or not len(some):
        return torch.zeros(len(some), dtype=torch.bool)
    return (some @ others.T).amax(1) > SAME


def _thinned(keys: Tensor) -> Tensor:
    return keys if len(keys) <= KEPT else keys[torch.linspace(0, len(keys) - 1, KEPT).round().long()]
