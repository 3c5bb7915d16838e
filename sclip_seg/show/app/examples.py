"""Example pictures, each with words that go with it: drawn scenes, or a folder's; and lists of words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...errors import InputError
from ...handed_in import read_text
from ...toy import rich_world, world
from ...toy.world import THINGS, draw

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MOST = 12  # of a folder
SCENES = [(150, 200), (200, 150), (180, 180), (150, 220)]  # (height, width) of the drawn examples
DRAWN = {"toy": world, "toy12": rich_world}  # the backbones that know drawn scenes, and nothing else
LISTS = {  # of words, to find some in a picture
    "benchmarks": "the class names of all benchmarks",
    "imagenet": "ImageNet's names, 20,102 words: minutes on a CPU, once",
    "imagenet+benchmarks": "both",
    "toy_stuff": "what the toy knows, 18 words",
    "toy_rich_stuff": "what toy12 knows, 32 words",
}


@dataclass(frozen=True)
class Example:
    """A picture's file, and the words and background words for it, which may be empty."""

    path: Path
    words: str = ""
    background: str = ""


def drawn(folder: Path) -> list[Example]:
    """Scenes of the toy world, as files in `folder`, each with the names of what it shows and of a thing it lacks."""
    examples = []
    for index, (height, width) in enumerate(SCENES):
        scene, path = draw(7, index, height, width, count=(4, 6), two_grounds=1.0), folder / f"scene_{index}.png"
        Image.fromarray(scene.image).save(path)
        absent = next(name for name in THINGS if name not in scene.thing_names)
        examples.append(Example(path, ", ".join((*scene.thing_names, absent)), "; ".join(scene.ground_names)))
    return examples


def examples_of(folder: Path) -> list[Example]:
    """The first pictures of a folder; NAME.txt beside NAME.jpg has its words, and in a second line background words."""
    examples = []
    for path in pictures_of(folder):
        beside = path.with_suffix(".txt")
        lines = read_text(beside, "the words of an example").split("\n") if beside.is_file() else []
        examples.append(Example(path, *(line.strip() for line in lines[:2])))
    return examples


def pictures_of(folder: Path) -> list[Path]:
    """The first pictures of a folder. Raises InputError where there are none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"--examples {folder} is no folder with pictures ({', '.join(sorted(SUFFIXES))})")
    return [path.resolve() for path in paths[:MOST]]


def what_it_knows(backbone: str) -> str:
    """What must be known of a backbone before a picture is given to it; empty for those that know what CLIP knows."""
    if backbone not in DRAWN:
        return ""
    things, grounds = DRAWN[backbone].THINGS, DRAWN[backbone].GROUNDS
    return (
        f"{backbone} is for trying the page out: it only knows drawn scenes like the examples, with {_listed(things)} "
        f"on {_listed(grounds)}. Photographs and other words mean nothing to it."
    )


def list_for(backbone: str) -> str:
    """The list of words that fits a backbone."""
    return {"toy": "toy_stuff", "toy12": "toy_rich_stuff"}.get(backbone, "benchmarks")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
