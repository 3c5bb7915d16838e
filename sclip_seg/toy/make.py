"""Draws the toy benchmark: pictures, labels with a background class, and labels
without one.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..command import Parser, at_least_one, at_least_zero, run
from ..errors import InputError
from . import WORLDS, rich_world, world
from .world import WINDOW, Scene

FOLDERS = ("images/val", "labels/val", "labels_stuff/val")
MADE_WITH = "made_with.json"


def evaluation_scene(seed: int, index: int) -> Scene:
    """Scene `index`: 80 to 176 px a side, as densely filled as a training picture, often on two grounds."""
    height, width = np.random.default_rng([seed, index]).integers(80, 177, 2)
    density = height * width / WINDOW**2
    count = (round(1.2 * density), round(2.2 * density))
    return world.draw(seed, index, int(height), int(width), count=count, two_grounds=0.7)


def rich_scene(seed: int, index: int) -> Scene:
    """Scene `index` of the rich world: 96 to 224 px a side, as densely filled as those of its training."""
    height, width = np.random.default_rng([seed, index, 12]).integers(96, 225, 2)
    density = height * width / 128**2
    return rich_world.draw(seed, index, int(height), int(width), count=(round(2 * density), round(8 * density)))


def make(out: Path, count: int, seed: int, name: str = "toy") -> bool:
    """Writes the tree of a world, unless it is there, made with the same arguments; says whether it had to.

    The tree is drawn beside `out` and renamed when it is complete, so nobody sees half of it.
    """
    drawn, scene_of = (rich_world, rich_scene) if name == "toy_rich" else (world, evaluation_scene)
    made_with = {"count": count, "seed": seed, "things": list(drawn.THINGS), "grounds": list(drawn.GROUNDS)}
    record = out / MADE_WITH
    if out.exists() and any(out.iterdir()):
        if not record.is_file():
            raise InputError(f"{out} holds something that this tool did not make; name another --out")
        counts = {len(list((out / folder).glob("*.png"))) for folder in FOLDERS}
        if counts == {count} and json.loads(record.read_text()) == made_with:
            return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
        tree = Path(place) / out.name
        for folder in FOLDERS:
            (tree / folder).mkdir(parents=True)
        for index in range(count):
            scene = scene_of(seed, index)
            for folder, array in zip(FOLDERS, (scene.image, scene.things, scene.stuff), strict=True):
                Image.fromarray(array).save(tree / folder / f"{index:03d}.png")
        (tree / MADE_WITH).write_text(json.dumps(made_with, indent=1) + "\n")
        if out.exists():
            out.rename(Path(place) / "before")
        tree.rename(out)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    harder = "toy_rich is harder to read from colour (default: toy)"
    parser.add_argument("--world", choices=WORLDS, default="toy", help=harder)
    parser.add_argument("--out", type=Path, help="folder to write (default: data/WORLD)")
    parser.add_argument("--count", type=at_least_one, default=100, help="how many scenes (default: 100)")
    parser.add_argument("--seed", type=at_least_zero, default=0, help="another seed, other scenes (default: 0)")
    options = parser.parse_args(arguments)
    return run(lambda: draw_tree(options))


def draw_tree(options: argparse.Namespace) -> None:
    """Says what was done."""
    out = options.out or Path("data", options.world)
    made = make(out, options.count, options.seed, options.world)
    print(f"{out}: {options.count} scenes {'drawn' if made else 'already there'}")
