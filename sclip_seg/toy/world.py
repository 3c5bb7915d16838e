"""Scenes of named things on named grounds, drawn from a seed together with their exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .grounds import PLAIN_GROUNDS, smooth_noise
from .things import PLAIN_THINGS

WINDOW = 64  # pixels a side of a training picture, the input size of the toy CLIP
SPLITS = ("train", "val")

_SUPERSAMPLING = 4
_RADIUS = (11.0, 16.0)  # pixels, the same in every split: a thing looks alike in small and large scenes
_VISIBLE_THING = 40  # pixels from which a thing counts as present
_VISIBLE_GROUND = 0.08  # share of the picture from which a ground counts as present


@dataclass(frozen=True)
class Scene:
    """One picture and what is in it.

    image: (H, W, 3) uint8, RGB.
    things: (H, W) uint8, 0 the background (any ground), then THINGS from 1.
    stuff: (H, W) uint8, THINGS from 0, then GROUNDS; every pixel has a class.
    thing_names, ground_names: those with enough visible pixels, in the order of THINGS and GROUNDS.
    """

    image: np.ndarray
    things: np.ndarray
    stuff: np.ndarray
    thing_names: tuple[str, ...]
    ground_names: tuple[str, ...]


THINGS: tuple[str, ...] = tuple(PLAIN_THINGS)
GROUNDS: tuple[str, ...] = tuple(PLAIN_GROUNDS)


# --- composing a scene ---


def draw(
    seed: int,
    index: int,
    height: int = WINDOW,
    width: int = WINDOW,
    count: tuple[int, int] = (1, 3),
    two_grounds: float = 0.3,
    split: str = "val",
) -> Scene:
    """Scene `index` of a split: `count` (from, to) things, two grounds with the given probability.

    Every argument being equal the scene is, whatever was drawn before it; no two splits share a scene.
    """
    random = np.random.default_rng([SPLITS.index(split), seed, index])
    image, grounds = _draw_grounds(random, height, width, two_grounds)
    things = np.zeros((height, width), np.uint8)
    placed = []
    for which in random.integers(len(THINGS), size=random.integers(count[0], count[1] + 1)):
        radius = random.uniform(*_RADIUS)
        centre = _free_place(random, placed, radius, height, width)
        if centre is not None:
            placed.append((*centre, radius))
            _draw_thing(random, image, things, int(which), centre, radius)
    image = image * random.uniform(0.88, 1.08) + 4 * random.standard_normal(image.shape, dtype=np.float32)
    stuff = np.where(things > 0, things - 1, grounds + len(THINGS)).astype(np.uint8)
    seen = np.bincount(stuff.ravel(), minlength=len(THINGS) + len(GROUNDS))
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        things=things,
        stuff=stuff,
        thing_names=tuple(n for n, pixels in zip(THINGS, seen, strict=False) if pixels >= _VISIBLE_THING),
        ground_names=tuple(
            n
            for n, pixels in zip(GROUNDS, seen[len(THINGS) :], strict=True)
            if pixels >= _VISIBLE_GROUND * height * width
        ),
    )


def _draw_grounds(random, height, width, two_grounds):
    """(H, W, 3) float32 picture and (H, W) uint8 index into GROUNDS; two grounds meet along a wavy line."""
    first, second = random.permutation(len(GROUNDS))[:2]
    image = PLAIN_GROUNDS[GROUNDS[first]](random, height, width)
    grounds = np.full((height, width), first, np.uint8)
    if random.random() < two_grounds:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        angle = random.uniform(0, 2 * np.pi)
        across = (y - height * random.uniform(0.35, 0.65)) * np.sin(angle)
        across += (x - width * random.uniform(0.35, 0.65)) * np.cos(angle)
        beyond = across + 2 * smooth_noise(random, height, width, 12) > 0
        grounds[beyond] = second
        image[beyond] = PLAIN_GROUNDS[GROUNDS[second]](random, height, width)[beyond]
    return image, grounds


def _free_place(random, placed, radius, height, width):
    """A (y, x) centre at which the thing hides little of the others, or None after some tries."""
    margin = 0.6 * radius  # less than the radius: the frame may cut a thing, as a window would
    for _ in range(20):
        y, x = random.uniform(margin, height - margin), random.uniform(margin, width - margin)
        if all(np.hypot(y - v, x - u) > 0.85 * (radius + other) for v, u, other in placed):
            return y, x
    return None


def _draw_thing(random, image, things, which, centre, radius):
    """Paints one thing with its shadow into image and things, in place."""
    thing = PLAIN_THINGS[THINGS[which]]
    height, width = things.shape
    reach = int(np.ceil(radius * 1.45)) + 3
    top, left = int(centre[0]) - reach, int(centre[1]) - reach
    turn = random.uniform(-0.6, 0.6)
    matrix = radius * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    offset = np.array(centre) - (top, left)
    jitter = random.uniform(-16, 16, 3) + random.uniform(-14, 14)

    def cover(polygons):
        """(2 reach + 1) squared float32 share of each pixel that the polygons cover."""
        side = (2 * reach + 1) * _SUPERSAMPLING
        canvas = np.zeros((side, side), np.uint8)
        corners = [np.round((p @ matrix.T + offset)[:, ::-1] * _SUPERSAMPLING).astype(np.int32) for p in polygons]
        cv2.fillPoly(canvas, corners, 255)
        return cv2.resize(canvas, (2 * reach + 1,) * 2, interpolation=cv2.INTER_AREA) / np.float32(255)

    alpha = cover(thing.outline)
    paint = np.broadcast_to(np.float32(thing.colour), (*alpha.shape, 3))
    for colour, polygon in thing.marks:
        mark = cover([polygon])
        alpha = np.maximum(alpha, mark)
        paint = paint + mark[..., None] * (np.float32(colour) - paint)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / np.float32(radius)
    paint = (paint + jitter) * (1 - 0.13 * (y + x))[..., None]  # lit from the upper left
    shadow = cv2.GaussianBlur(np.roll(alpha, (2, 2), (0, 1)), (5, 5), 1.5)

    # What of the stamp lies inside the picture.
    rows = slice(max(top, 0), min(top + 2 * reach + 1, height))
    columns = slice(max(left, 0), min(left + 2 * reach + 1, width))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    below = image[rows, columns] * (1 - 0.35 * shadow[inside])[..., None]
    image[rows, columns] = below + alpha[inside][..., None] * (paint[inside] - below)
    things[rows, columns][alpha[inside] > 0.5] = which + 1
