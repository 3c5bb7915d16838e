"""Trains the toy CLIP from scratch on drawn scenes and their captions (two cores: about half an hour)."""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, at_least_zero, run

TOY = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments, __doc__, "toy.safetensors", "pictures", steps=1265, batch=96, pool=30000)

    from .train import make

    return run(lambda: make(options))


def parse(
    arguments: list[str] | None, description: str, file: str, seen: str, steps: int, batch: int, pool: int
) -> argparse.Namespace:
    """The command line, by the name of the shipped file, what a batch is of, and defaults."""
    parser = Parser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=TOY / file, help="file to write")
    parser.add_argument("--steps", type=at_least_one, default=steps, help="steps of the optimizer")
    parser.add_argument("--batch", type=at_least_one, default=batch, help=f"{seen} per step")
    parser.add_argument("--pool", type=at_least_one, default=pool, help="pictures drawn beforehand")
    parser.add_argument("--seed", type=at_least_zero, default=0, help="of the drawing, the training and the weights")
    return parser.parse_args(arguments)
