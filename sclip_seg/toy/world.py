"""Scenes of named things on named grounds, drawn from a seed together with their exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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


# --- shapes: (n, 2) polygons of (y, x) in units of the radius, y downwards ---


def _polygon(corners):
    """From a text of "y x" pairs with commas between them."""
    return np.array([pair.split() for pair in corners.split(",")], np.float64)


def _ellipse(height, width, centre=(0.0, 0.0)):
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([centre[0] + height * np.sin(angle), centre[1] + width * np.cos(angle)], 1)


def _star(tips, inner, size=1.0, centre=(0.0, 0.0)):
    angle = np.arange(2 * tips) * np.pi / tips
    radius = np.where(np.arange(2 * tips) % 2 == 0, size, inner * size)
    return np.stack([centre[0] - radius * np.cos(angle), centre[1] + radius * np.sin(angle)], 1)


def _box(top, left, bottom, right):
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], np.float64)


def _egg():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([np.sin(angle), 0.78 * np.cos(angle) * (1 + 0.22 * np.sin(angle))], 1)


def _heart():
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)) / 16
    return np.stack([y - 0.1, np.sin(angle) ** 3], 1)


def _crescent():
    outer, inner = np.linspace(0.28, 1.72, 40) * np.pi, np.linspace(1.62, 0.38, 40) * np.pi
    outside = np.stack([np.sin(outer), np.cos(outer)], 1)
    inside = np.stack([0.82 * np.sin(inner), 0.45 + 0.75 * np.cos(inner)], 1)
    return np.concatenate([outside, inside])


def _almond(half_width):
    along = np.linspace(-1, 1, 20)
    bulge = half_width * (1 - along**2) ** 0.8
    return np.concatenate([np.stack([along, bulge], 1), np.stack([along, -bulge], 1)[::-1]])


def _lemon():
    outline = _ellipse(0.68, 0.95)
    outline[20], tip = (0, -1.2), np.array([(0, 1.2)])
    return np.concatenate([outline, tip])


@dataclass(frozen=True)
class _Thing:
    """A colour, an outline (several polygons: even-odd, so the second is a hole), and marks painted over."""

    colour: tuple[int, int, int]
    outline: tuple[np.ndarray, ...]
    marks: tuple[tuple[tuple[int, int, int], np.ndarray], ...] = ()


_DARK_GREEN, _DARK_BROWN, _PALE_PINK = (40, 105, 45), (122, 58, 38), (250, 226, 240)
_CACTUS = _polygon(
    "-1.1 -0.25, -1.1 0.25, -0.1 0.25, -0.1 0.5, -0.7 0.5, -0.7 0.9, 0.3 0.9, 0.3 0.25, 1.1 0.25, 1.1 -0.25,"
    "0.6 -0.25, 0.6 -0.9, -0.4 -0.9, -0.4 -0.5, 0.2 -0.5, 0.2 -0.25"
)
_CARROT = _polygon("1.25 0, -0.5 -0.62, -0.68 -0.3, -0.7 0.3, -0.5 0.62")
_CARROT_TOP = _polygon("-0.6 -0.12, -1.2 -0.5, -0.95 -0.1, -1.3 0.05, -0.95 0.15, -1.15 0.5, -0.6 0.14")
_HOLES = tuple(_ellipse(0.16, 0.16, (y, x)) for y in (-0.28, 0.28) for x in (-0.28, 0.28))
_KITE, _KITE_SPINE = (_polygon(f"-1.2 0, -0.25 {half}, 1.2 0, -0.25 -{half}") for half in (0.85, 0.07))

# Several share a colour with another thing or with a ground, so that colour alone does not name them.
_THINGS = {
    "tomato": _Thing((214, 48, 38), (_ellipse(0.95, 1.0),), ((_DARK_GREEN, _star(5, 0.35, 0.5, (-0.4, 0))),)),
    "heart": _Thing((222, 40, 62), (_heart(),)),
    "brick": _Thing(
        (160, 82, 52),
        (_box(-0.62, -1.05, 0.62, 1.05),),
        ((_DARK_BROWN, _box(-0.06, -1.05, 0.06, 1.05)), (_DARK_BROWN, _box(-0.62, -0.07, 0, 0.07))),
    ),
    "leaf": _Thing((70, 160, 52), (_almond(0.6),), ((_DARK_GREEN, _almond(0.09)),)),
    "cactus": _Thing((58, 138, 78), (_CACTUS,), (((38, 104, 58), _box(-0.95, -0.04, 1.0, 0.04)),)),
    "lemon": _Thing((242, 212, 48), (_lemon(),)),
    "moon": _Thing((240, 216, 92), (_crescent(),)),
    "carrot": _Thing((238, 122, 32), (_CARROT,), ((_DARK_GREEN, _CARROT_TOP),)),
    "starfish": _Thing((236, 118, 66), (_star(5, 0.48, 1.2),), (((248, 170, 118), _star(5, 0.4, 0.55)),)),
    "plum": _Thing((112, 46, 128), (_ellipse(0.98, 0.9),), (((84, 30, 100), _almond(0.07)),)),
    "egg": _Thing((244, 228, 206), (_egg(),)),
    "button": _Thing((58, 112, 204), (_ellipse(0.92, 0.92),), tuple(((24, 50, 104), h) for h in _HOLES)),
    "tyre": _Thing((46, 46, 50), (_ellipse(1.0, 1.0), _ellipse(0.45, 0.45))),
    "kite": _Thing(
        (220, 76, 166),
        (_KITE,),
        ((_PALE_PINK, _KITE_SPINE), (_PALE_PINK, _box(-0.31, -0.85, -0.19, 0.85))),
    ),
}


# --- grounds: (H, W, 3) float32 textures ---


def _smooth_noise(random, height, width, cell):
    """(H, W) float32 noise of unit size that varies over about `cell` pixels."""
    coarse = random.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _fine_noise(random, height, width):
    return random.standard_normal((height, width), dtype=np.float32)


def _sand(random, height, width):
    grain = 7 * _fine_noise(random, height, width) + 7 * _smooth_noise(random, height, width, 12)
    specks = -38 * (random.random((height, width)) < 0.02)
    return np.float32((222, 194, 146)) + (grain + specks)[..., None]


def _water(random, height, width):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = 2.2 * _smooth_noise(random, height, width, 10) + 1.5 * np.sin(x / 6 + random.uniform(0, 6))
    ripple = np.sin((y + bend) * (2 * np.pi / 9) + random.uniform(0, 6))
    return np.float32((58, 122, 190)) + ripple[..., None] * np.float32((16, 18, 16))


def _snow(random, height, width):
    drift = _smooth_noise(random, height, width, 14)
    glitter = 3 * _fine_noise(random, height, width)
    return np.float32((234, 239, 247)) + drift[..., None] * np.float32((9, 7, 3)) + glitter[..., None]


def _grass(random, height, width):
    blades = cv2.blur(_fine_noise(random, height, width), (1, 7)) * 42
    patches = 8 * _smooth_noise(random, height, width, 16)
    return np.float32((104, 152, 66)) + (blades + patches)[..., None] * np.float32((0.9, 1, 0.6))


_GROUNDS = {"sand": _sand, "water": _water, "snow": _snow, "grass": _grass}

THINGS: tuple[str, ...] = tuple(_THINGS)
GROUNDS: tuple[str, ...] = tuple(_GROUNDS)


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
    image = _GROUNDS[GROUNDS[first]](random, height, width)
    grounds = np.full((height, width), first, np.uint8)
    if random.random() < two_grounds:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        angle = random.uniform(0, 2 * np.pi)
        across = (y - height * random.uniform(0.35, 0.65)) * np.sin(angle)
        across += (x - width * random.uniform(0.35, 0.65)) * np.cos(angle)
        beyond = across + 2 * _smooth_noise(random, height, width, 12) > 0
        grounds[beyond] = second
        image[beyond] = _GROUNDS[GROUNDS[second]](random, height, width)[beyond]
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
    thing = _THINGS[THINGS[which]]
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
