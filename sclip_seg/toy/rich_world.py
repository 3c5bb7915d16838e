"""A world that is harder to read from colour alone: sizes, textures, shadows, occlusion, blur, noise of JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from .grounds import RICH_GROUNDS, fine_noise, smooth_noise
from .things import RICH_THINGS
from .world import SPLITS, Scene

THINGS: tuple[str, ...] = tuple(RICH_THINGS)
GROUNDS: tuple[str, ...] = tuple(RICH_GROUNDS)
NAMES = THINGS + GROUNDS  # by their number in `Scene.stuff`

_RADIUS = (3.0, 40.0)  # pixels; small ones are as frequent as large ones, by their logarithm
_OVERLAP = 0.75  # of the sum of two radii, from which things may be apart
_VISIBLE_THING = 20  # pixels from which a thing counts as present
_VISIBLE_GROUND = 0.06  # share of the picture from which a ground counts as present
_QUALITY = (40, 96)  # of JPEG


def draw(seed: int, index: int, height: int, width: int, count: tuple[int, int], split: str = "val") -> Scene:
    """Scene `index` of a split, with `count` (from, to) things on one to three grounds.

    Every argument being equal the scene is, whatever was drawn before it; no two splits share a scene.
    """
    random = np.random.default_rng([SPLITS.index(split), seed, index, 12])
    image, grounds = _draw_grounds(random, height, width)
    image = _shade(random, image)
    things = np.zeros((height, width), np.uint8)
    largest = min(_RADIUS[1], 0.45 * min(height, width))
    sizes = np.exp(random.uniform(np.log(_RADIUS[0]), np.log(largest), random.integers(count[0], count[1] + 1)))
    placed = []
    for radius in sorted(sizes, key=lambda size: -size * random.uniform(0.7, 1.4)):  # small ones mostly in front
        place = _free_place(random, placed, radius, height, width)
        if place is not None:
            placed.append((*place, radius))
            _draw_thing(random, image, things, int(random.integers(len(THINGS))), place, radius)
    stuff = np.where(things > 0, things - 1, grounds + len(THINGS)).astype(np.uint8)
    names = visible(stuff)
    return Scene(_photographed(random, image), things, stuff, *names)


def visible(stuff: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the things and of the grounds of which enough is seen."""
    seen = np.bincount(stuff.ravel(), minlength=len(NAMES))
    things, grounds = seen[: len(THINGS)], seen[len(THINGS) :]
    return (
        tuple(THINGS[i] for i in np.flatnonzero(things >= _VISIBLE_THING)),
        tuple(GROUNDS[i] for i in np.flatnonzero(grounds >= _VISIBLE_GROUND * stuff.size)),
    )


def _draw_grounds(random, height, width):
    """(H, W, 3) float32 picture and (H, W) uint8 index into GROUNDS; grounds meet along wavy lines."""
    image, grounds = None, np.zeros((height, width), np.uint8)
    for which in random.permutation(len(GROUNDS))[: random.choice((1, 2, 3), p=(0.4, 0.45, 0.15))]:
        texture = RICH_GROUNDS[GROUNDS[which]](random, height, width)
        if image is None:
            image, grounds[:] = texture, which
            continue
        y, x = np.mgrid[:height, :width].astype(np.float32)
        angle = random.uniform(0, 2 * np.pi)
        across = (y - height * random.uniform(0.25, 0.75)) * np.sin(angle)
        across += (x - width * random.uniform(0.25, 0.75)) * np.cos(angle)
        beyond = across + 4 * smooth_noise(random, height, width, 16) > 0
        grounds[beyond] = which
        image[beyond] = texture[beyond]
    return image.astype(np.float32), grounds


def _shade(random, image):
    """The picture lit from one side, under up to two soft shadows of what is outside it."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    light = 1 + random.uniform(0, 0.18) * (y * np.sin(angle) + x * np.cos(angle))
    for _ in range(random.integers(3)):
        shadow = smooth_noise(random, height, width, 40) > random.uniform(0.2, 1.0)
        light *= 1 - random.uniform(0.15, 0.45) * cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 3)
    return image * light[..., None]


def _free_place(random, placed, radius, height, width):
    """A (y, x) centre from which the thing hides no other as a whole, or None after some tries."""
    margin = 0.5 * radius  # the frame may cut a thing, as a window would
    for _ in range(20):
        y, x = random.uniform(margin, height - margin), random.uniform(margin, width - margin)
        if all(np.hypot(y - v, x - u) > _OVERLAP * (radius + other) for v, u, other in placed):
            return y, x
    return None


def _texture(random, side):
    """(side, side) float32 variation of a thing's brightness: none, mottled, speckled or striped."""
    kind, strength = random.integers(4), random.uniform(5, 20)
    if kind == 0:
        return np.zeros((side, side), np.float32)
    if kind == 1:
        return strength * smooth_noise(random, side, side, max(side // 6, 3))
    if kind == 2:
        return strength * fine_noise(random, side, side)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    angle, period = random.uniform(0, np.pi), random.uniform(3, 7)
    return strength * np.sin((y * np.sin(angle) + x * np.cos(angle)) * 2 * np.pi / period)


def _draw_thing(random, image, things, which, centre, radius):
    """Paints one thing with its shadow into image and things, in place."""
    thing = RICH_THINGS[THINGS[which]]
    height, width = things.shape
    reach = int(np.ceil(radius * 1.5)) + 4
    side = 2 * reach + 1
    top, left = int(centre[0]) - reach, int(centre[1]) - reach
    turn, stretch = random.uniform(-0.8, 0.8), np.exp(random.uniform(-0.15, 0.15))
    matrix = radius * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * (stretch, 1 / stretch)
    offset = np.array(centre) - (top, left)
    fine = 4 if radius < 16 else 2

    def cover(polygons):
        """(side, side) float32 share of each pixel that the polygons cover."""
        canvas = np.zeros((side * fine, side * fine), np.uint8)
        corners = [np.round((p @ matrix.T + offset)[:, ::-1] * fine).astype(np.int32) for p in polygons]
        cv2.fillPoly(canvas, corners, 255)
        return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA) / np.float32(255)

    alpha = cover(thing.outline)
    paint = np.broadcast_to(np.float32(thing.colour), (side, side, 3))
    for colour, polygon in thing.marks:
        mark = cover([polygon])
        alpha = np.maximum(alpha, mark)
        paint = paint + mark[..., None] * (np.float32(colour) - paint)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / np.float32(radius)
    paint = paint + random.uniform(-22, 22, 3) + random.uniform(-18, 18) + _texture(random, side)[..., None]
    paint = paint * (1 - random.uniform(0, 0.2) * (y + x) + random.uniform(-0.2, 0.1))[..., None]
    away = int(np.clip(radius / 6, 1, 4))
    shadow = cv2.GaussianBlur(np.roll(alpha, (away, away), (0, 1)), (0, 0), 0.6 * away)

    # What of the stamp lies inside the picture.
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    below = image[rows, columns] * (1 - 0.45 * shadow[inside])[..., None]
    image[rows, columns] = below + alpha[inside][..., None] * (paint[inside] - below)
    things[rows, columns][alpha[inside] > 0.5] = which + 1


def _photographed(random, image):
    """(H, W, 3) uint8: tinted, out of focus, noisy, and stored as JPEG."""
    image = image * np.float32(random.uniform(0.7, 1.12) * random.uniform(0.93, 1.07, 3))
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.2, 1.2))
    image = image + random.uniform(1, 7) * fine_noise(random, *image.shape[:2])[..., None]
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    stored = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, int(random.integers(*_QUALITY))))[1]
    return cv2.imdecode(stored, cv2.IMREAD_COLOR)  # both take the channels in the order in which they come
