"""What may lie in a scene: outlines, colours and marks of named things."""

from dataclasses import dataclass

import numpy as np

# Shapes are (n, 2) polygons of (y, x) in units of the radius, y downwards.


def polygon(corners: str) -> np.ndarray:
    """From a text of "y x" pairs with commas between them."""
    return np.array([pair.split() for pair in corners.split(",")], np.float64)


def ellipse(height: float, width: float, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Of these half axes."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([centre[0] + height * np.sin(angle), centre[1] + width * np.cos(angle)], 1)


def star(tips: int, inner: float, size: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """So many tips, its inner corners at a share of its size."""
    angle = np.arange(2 * tips) * np.pi / tips
    radius = np.where(np.arange(2 * tips) % 2 == 0, size, inner * size)
    return np.stack([centre[0] - radius * np.cos(angle), centre[1] + radius * np.sin(angle)], 1)


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Upright."""
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], np.float64)


def egg() -> np.ndarray:
    """Blunt below."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([np.sin(angle), 0.78 * np.cos(angle) * (1 + 0.22 * np.sin(angle))], 1)


def heart() -> np.ndarray:
    """Upright."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)) / 16
    return np.stack([y - 0.1, np.sin(angle) ** 3], 1)


def crescent() -> np.ndarray:
    """Open to the right."""
    outer, inner = np.linspace(0.28, 1.72, 40) * np.pi, np.linspace(1.62, 0.38, 40) * np.pi
    outside = np.stack([np.sin(outer), np.cos(outer)], 1)
    inside = np.stack([0.82 * np.sin(inner), 0.45 + 0.75 * np.cos(inner)], 1)
    return np.concatenate([outside, inside])


def almond(half_width: float) -> np.ndarray:
    """Pointed above and below."""
    along = np.linspace(-1, 1, 20)
    bulge = half_width * (1 - along**2) ** 0.8
    return np.concatenate([np.stack([along, bulge], 1), np.stack([along, -bulge], 1)[::-1]])


def lemon() -> np.ndarray:
    """An ellipse with two tips."""
    outline = ellipse(0.68, 0.95)
    outline[20], tip = (0, -1.2), np.array([(0, 1.2)])
    return np.concatenate([outline, tip])


@dataclass(frozen=True)
class Thing:
    """A colour, an outline (several polygons: even-odd, so the second is a hole), and marks painted over."""

    colour: tuple[int, int, int]
    outline: tuple[np.ndarray, ...]
    marks: tuple[tuple[tuple[int, int, int], np.ndarray], ...] = ()


_DARK_GREEN, _DARK_BROWN, _PALE_PINK = (40, 105, 45), (122, 58, 38), (250, 226, 240)
_CACTUS = polygon(
    "-1.1 -0.25, -1.1 0.25, -0.1 0.25, -0.1 0.5, -0.7 0.5, -0.7 0.9, 0.3 0.9, 0.3 0.25, 1.1 0.25, 1.1 -0.25,"
    "0.6 -0.25, 0.6 -0.9, -0.4 -0.9, -0.4 -0.5, 0.2 -0.5, 0.2 -0.25"
)
_CARROT = polygon("1.25 0, -0.5 -0.62, -0.68 -0.3, -0.7 0.3, -0.5 0.62")
_CARROT_TOP = polygon("-0.6 -0.12, -1.2 -0.5, -0.95 -0.1, -1.3 0.05, -0.95 0.15, -1.15 0.5, -0.6 0.14")
_HOLES = tuple(ellipse(0.16, 0.16, (y, x)) for y in (-0.28, 0.28) for x in (-0.28, 0.28))
_KITE, _KITE_SPINE = (polygon(f"-1.2 0, -0.25 {half}, 1.2 0, -0.25 -{half}") for half in (0.85, 0.07))

# Several share a colour with another thing or with a ground, so that colour alone does not name them.
PLAIN_THINGS = {
    "tomato": Thing((214, 48, 38), (ellipse(0.95, 1.0),), ((_DARK_GREEN, star(5, 0.35, 0.5, (-0.4, 0))),)),
    "heart": Thing((222, 40, 62), (heart(),)),
    "brick": Thing(
        (160, 82, 52),
        (box(-0.62, -1.05, 0.62, 1.05),),
        ((_DARK_BROWN, box(-0.06, -1.05, 0.06, 1.05)), (_DARK_BROWN, box(-0.62, -0.07, 0, 0.07))),
    ),
    "leaf": Thing((70, 160, 52), (almond(0.6),), ((_DARK_GREEN, almond(0.09)),)),
    "cactus": Thing((58, 138, 78), (_CACTUS,), (((38, 104, 58), box(-0.95, -0.04, 1.0, 0.04)),)),
    "lemon": Thing((242, 212, 48), (lemon(),)),
    "moon": Thing((240, 216, 92), (crescent(),)),
    "carrot": Thing((238, 122, 32), (_CARROT,), ((_DARK_GREEN, _CARROT_TOP),)),
    "starfish": Thing((236, 118, 66), (star(5, 0.48, 1.2),), (((248, 170, 118), star(5, 0.4, 0.55)),)),
    "plum": Thing((112, 46, 128), (ellipse(0.98, 0.9),), (((84, 30, 100), almond(0.07)),)),
    "egg": Thing((244, 228, 206), (egg(),)),
    "button": Thing((58, 112, 204), (ellipse(0.92, 0.92),), tuple(((24, 50, 104), h) for h in _HOLES)),
    "tyre": Thing((46, 46, 50), (ellipse(1.0, 1.0), ellipse(0.45, 0.45))),
    "kite": Thing(
        (220, 76, 166),
        (_KITE,),
        ((_PALE_PINK, _KITE_SPINE), (_PALE_PINK, box(-0.31, -0.85, -0.19, 0.85))),
    ),
}


# The rich world's, besides: each shares shape, colour or both with another thing.
_PAPER, _RED, _BLUE = (240, 234, 218), (206, 44, 40), (62, 108, 196)
_SPOTS = tuple(ellipse(0.2, 0.2, place) for place in ((-0.25, -0.45), (-0.25, 0.45), (0.4, -0.4), (0.4, 0.4)))
_FISH = (almond(0.55)[:, ::-1] * (1, 0.8) - (0, 0.25), polygon("0 0.55, 0.5 1.15, -0.5 1.15"))
_CAP = polygon("0.1 -1.05, -0.35 -0.9, -0.8 -0.45, -0.95 0, -0.8 0.45, -0.35 0.9, 0.1 1.05")
_PEAR = np.stack([ellipse(1.1, 0.8)[:, 0], ellipse(1.1, 0.8)[:, 1] * (1 + 0.42 * ellipse(1.1, 0.8)[:, 0])], 1)
RICH_THINGS = PLAIN_THINGS | {
    "orange": Thing((240, 134, 36), (ellipse(0.96, 0.96),), (((250, 176, 92), ellipse(0.16, 0.16, (-0.4, -0.35))),)),
    "ladybird": Thing(
        (212, 42, 38),
        (ellipse(0.95, 0.9),),
        (((34, 30, 34), _CAP * (0.5, 0.72) - (0.42, 0)), *(((34, 30, 34), spot) for spot in _SPOTS)),
    ),
    "banana": Thing(
        (240, 214, 70),
        (crescent() @ np.array([(0.0, 1.0), (-1.0, 0.0)]) * (1.1, 1.1),),
        ((_DARK_BROWN, ellipse(0.2, 0.2, (-0.72, -0.72))), (_DARK_BROWN, ellipse(0.2, 0.2, (-0.72, 0.72)))),
    ),
    "pear": Thing((176, 196, 62), (_PEAR,), ((_DARK_BROWN, box(-1.25, -0.06, -0.8, 0.06)),)),
    "book": Thing(
        _BLUE,
        (box(-0.95, -0.72, 0.95, 0.72),),
        ((_PAPER, box(-0.85, 0.5, 0.85, 0.66)), (_PAPER, box(-0.55, -0.4, -0.25, 0.25))),
    ),
    "envelope": Thing(
        (238, 224, 200),
        (box(-0.65, -1.05, 0.65, 1.05),),
        (((150, 110, 84), polygon("-0.65 -1.05, -0.5 -1.05, 0.18 0, -0.5 1.05, -0.65 1.05, 0.02 0")),),
    ),
    "ring": Thing((232, 196, 70), (ellipse(1.0, 1.0), ellipse(0.68, 0.68)), ((_RED, ellipse(0.26, 0.26, (-0.9, 0))),)),
    "mushroom": Thing(
        (204, 48, 44),
        (_CAP,),
        (
            (_PAPER, box(0.1, -0.32, 1.05, 0.32)),
            *((_PAPER, ellipse(0.15, 0.17, place)) for place in ((-0.3, -0.45), (-0.55, 0.1), (-0.2, 0.5))),
        ),
    ),
    "fish": Thing((84, 134, 200), _FISH, (((20, 24, 40), ellipse(0.12, 0.12, (-0.1, -0.72))),)),
    "umbrella": Thing(
        (124, 56, 140),
        (_CAP,),
        (
            (_DARK_BROWN, box(-1.1, -0.06, 1.05, 0.06)),
            (_DARK_BROWN, box(0.93, -0.06, 1.05, 0.4)),
            ((170, 104, 186), polygon("-0.95 0, 0.1 -0.4, 0.1 0.4")),
        ),
    ),
}
