"""Scenes of the rich world drawn ahead by all processors into a folder, and the views that a training has of them."""

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..files import write_atomically
from .captions import bits, say
from .rich_world import NAMES, draw, visible
from .world import WINDOW

SIDE, COUNT = 128, (1, 8)  # of a drawn scene, and how many things are tried in it
SCALES = (44, SIDE)  # sides of the squares that become a view, a small one as often as a large one
PATCHES = WINDOW // 8  # a side
LEAST = 3  # patches, the side of a part
DEPTHS = (6, 7, 8, 9, 10, *5 * (11,))  # blocks after which the last one reads a part's values, each as often
AT_A_TIME = 100
_FILES = {"pictures.npy": (3,), "labels.npy": ()}


class Pool:
    """(N, H, W, 3) pictures and (N, H, W) labels in files of `folder`, which are read as they are asked for."""

    def __init__(self, folder: Path, seed: int, size: int) -> None:
        made, folder = {"seed": seed, "size": size, "side": SIDE, "names": NAMES}, folder / "pool"
        record = folder / "made_with.json"
        if not record.is_file() or json.loads(record.read_text()) != json.loads(json.dumps(made)):
            folder.mkdir(parents=True, exist_ok=True)
            record.unlink(missing_ok=True)
            for name, channels in _FILES.items():
                np.lib.format.open_memmap(folder / name, "w+", np.uint8, (size, SIDE, SIDE, *channels))
            jobs = [(folder, seed, start, min(start + AT_A_TIME, size)) for start in range(0, size, AT_A_TIME)]
            with multiprocessing.get_context("spawn").Pool() as workers:
                workers.starmap(_draw, jobs, chunksize=1)
            write_atomically(record, json.dumps(made) + "\n")
        self.pictures, self.labels = (np.load(folder / name, mmap_mode="r") for name in _FILES)


def _draw(folder, seed, start, stop):
    pictures, labels = (np.load(folder / name, mmap_mode="r+") for name in _FILES)
    for index in range(start, stop):
        scene = draw(seed, index, SIDE, SIDE, COUNT, split="train")
        pictures[index], labels[index] = scene.image, scene.stuff


@dataclass(frozen=True)
class Told:
    """What is said of pictures: a caption of each, its names as bits (B,), and those of all that is to be seen (B,)."""

    captions: list[str]
    said: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class Parts:
    """A rectangle of each view's patches, (B, T) bool, and what is said of it.

    depth: after how many blocks it is read. beside: which patch of another view is added then.
    """

    inside: np.ndarray
    told: Told
    depth: int
    beside: int


@dataclass(frozen=True)
class Batch:
    """Views of scenes and what is said of them.

    pictures: (B, 3, 64, 64) uint8. kept: (B, T) which patches are seen, or None for all. parts: where all are.
    """

    pictures: np.ndarray
    kept: np.ndarray | None
    told: Told
    parts: Parts | None


def batch(pool: Pool, seed: int, step: int, size: int, patches: int) -> Batch:
    """The views of a step: of the same seed and step always the same, whatever came before.

    patches: how many of the 64 are seen; what lies in the others is not named.
    """
    random = np.random.default_rng([seed, step, 1])
    views = [
        _view(random, pool.pictures[i], pool.labels[i], patches) for i in random.integers(len(pool.labels), size=size)
    ]
    pictures, labels, kept, *told = zip(*views, strict=True)
    pictures, told = np.stack(pictures).transpose(0, 3, 1, 2), _together(told)
    if patches < PATCHES**2:
        return Batch(pictures, np.stack(kept), told, None)
    inside, *parts = zip(*(_part(random, each) for each in labels), strict=True)
    depth, beside = int(random.choice(DEPTHS)), int(random.integers(PATCHES**2))
    return Batch(pictures, None, told, Parts(np.stack(inside), _together(parts), depth, beside))


def _together(told):
    captions, *names = told
    return Told(list(captions), *(np.array(bits, np.int64) for bits in names))


def _view(random, picture, labels, patches):
    """A square of a scene at the window's size, turned over by chance, with a caption."""
    side = int(np.exp(random.uniform(*np.log(SCALES))))
    top, left = random.integers(SIDE - side + 1, size=2)
    place = (slice(top, top + side), slice(left, left + side))
    how = cv2.INTER_AREA if side > WINDOW else cv2.INTER_LINEAR
    picture = cv2.resize(picture[place], (WINDOW, WINDOW), interpolation=how)
    labels = cv2.resize(labels[place], (WINDOW, WINDOW), interpolation=cv2.INTER_NEAREST)
    for axis in (0, 1):
        if random.random() < 0.5:
            picture, labels = np.flip(picture, axis), np.flip(labels, axis)
    kept = np.sort(random.permutation(PATCHES**2)[:patches])
    cells = labels.reshape(PATCHES, 8, PATCHES, 8).swapaxes(1, 2).reshape(PATCHES**2, 64)
    things, grounds = visible(cells[kept])
    return picture, labels, kept, *_said(random, labels, things, grounds)


def _part(random, labels):
    """A rectangle of a view's patches, with a caption of what it shows."""
    height, width = (int(side) for side in random.integers(LEAST, PATCHES + 1, size=2))
    top, left = (int(random.integers(PATCHES - side + 1)) for side in (height, width))
    inside = np.zeros((PATCHES, PATCHES), bool)
    inside[top : top + height, left : left + width] = True
    labels = labels[8 * top : 8 * (top + height), 8 * left : 8 * (left + width)]
    return inside.ravel(), *_said(random, labels, *visible(labels))


def _said(random, labels, things, grounds):
    return *say(random, labels, things, grounds), bits(things + grounds)
