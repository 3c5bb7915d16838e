"""What is said of a view of the rich world: some of its things, how many or where they are, often their ground."""

import cv2
import numpy as np
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from .rich_world import NAMES, THINGS

MOST = 3  # things that a caption names
# Of the others by an s.
PLURALS = {
    "tomato": "tomatoes",
    "leaf": "leaves",
    "cactus": "cacti",
    "starfish": "starfish",
    "fish": "fish",
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
ENOUGH = 20  # pixels of one of several

PHRASINGS = ("{}.", "{}", "a picture of {}.", "there is {} here.", "i see {}.", "look, {}.", "{} again.")
GROUND_PHRASINGS = ("{}", "a picture of {}.", "there is {} everywhere.", "nothing but {}.", "a photo of the {}.")
PLACED = ("{} on {}", "{} on the {}", "{} in front of {}", "{} and {}", "{} surrounded by {}", "{} lying on some {}")
BESIDE = ("{} and {}", "{} beside {}", "{} next to {}", "{} near {}", "{} with {}")
RELATIONS = LEFT, RIGHT, ABOVE, BELOW = "{} to the left of {}", "{} to the right of {}", "{} above {}", "{} below {}"


def say(random: np.random.Generator, stuff: np.ndarray, things: tuple, grounds: tuple) -> tuple[str, int]:
    """A caption of a view, and the names it uses, a bit for each of NAMES.

    stuff: (H, W) labels of all of the view. things, grounds: the names of what is to be seen of it, one at least.
    """
    things = random.permutation(things).tolist()[:MOST]
    if len(things) > 1 and random.random() < 0.25:
        things = things[: random.integers(1, len(things))]
    grounds = random.permutation(grounds).tolist()
    if things and random.random() < 0.6:
        grounds = []
    phrase = " and ".join(grounds)
    if things:
        listed = _listed(random, stuff, things)
        phrase = random.choice(PLACED).format(listed, phrase) if grounds else listed
    return _phrased(random, phrase, bool(things)), bits(things + grounds)


def bits(names: list[str] | tuple[str, ...]) -> int:
    """A bit for each of NAMES."""
    return sum(1 << NAMES.index(name) for name in names)


def plural(name: str) -> str:
    """Of a thing's name."""
    return PLURALS.get(name, name + "s")


def _phrased(random, phrase, has_things):
    if random.random() < 0.6:
        template = OPENAI_IMAGENET_TEMPLATES[random.integers(len(OPENAI_IMAGENET_TEMPLATES))]
        bare = phrase.removeprefix("a ").removeprefix("an ") if random.random() < 0.8 else phrase
        return template(bare)
    return random.choice(PHRASINGS if has_things else GROUND_PHRASINGS).format(phrase)


def _listed(random, stuff, things):
    if len(things) == 2 and random.random() < 0.5:
        first, second = (_one(name) for name in things)
        relation = _relation(stuff, *things) if random.random() < 0.5 else None
        return relation.format(first, second) if relation else random.choice(BESIDE).format(first, second)
    said = [_counted(stuff, name) if random.random() < 0.3 else _one(name) for name in things]
    return ", ".join(said[:-1]) + " and " * (len(said) > 1) + said[-1]


def _one(name):
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _counted(stuff, name):
    count, _, stats, _ = cv2.connectedComponentsWithStats((stuff == THINGS.index(name)).astype(np.uint8))
    several = NUMBERS.get(int((stats[1:count, cv2.CC_STAT_AREA] >= ENOUGH).sum()))
    return f"{several} {plural(name)}" if several else _one(name)


def _relation(stuff, first, second):
    """Where the first is from the second, if that can be said of their middles."""
    (y, x), (v, u) = (np.argwhere(stuff == THINGS.index(name)).mean(0) for name in (first, second))
    if abs(x - u) > 2 * abs(y - v):
        return LEFT if x < u else RIGHT
    if abs(y - v) > 2 * abs(x - u):
        return ABOVE if y < v else BELOW
    return None
