"""Trains a toy CLIP from scratch on drawn scenes and their captions: `toy`, or the deep `toy12` in some hours.

The first takes two cores half an hour. The second keeps what it has in --work, every --kept steps, and goes on from
there by --resume with the same --seed, --batch and --pool; with more --steps, or with fewer, so that it ends sooner.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, at_least_zero, run

TOY = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = common(__doc__, "toy.safetensors", "pictures", steps=1265, batch=96, pool=30000)
    parser.add_argument("--tower", choices=("toy", "toy12"), default="toy", help="which one")
    deep = parser.add_argument_group("of toy12, whose other defaults are its own")
    deep.add_argument("--work", type=Path, default=Path("work_dirs/toy12"), help="scenes, checkpoint and log")
    deep.add_argument("--resume", action="store_true", help="go on from the checkpoint there")
    deep.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="of both towers")
    deep.add_argument("--threads", type=at_least_one, default=1, help="others give other last digits")
    deep.add_argument("--told", type=at_least_one, default=20, help="steps between two lines of the log")
    deep.add_argument("--kept", type=at_least_one, default=200, help="steps between two checkpoints")
    deep.add_argument("--probed", type=at_least_one, default=500, help="steps between two measures of four methods")
    if parser.parse_args(arguments).tower == "toy12":
        parser.set_defaults(out=TOY / "toy12.safetensors", steps=4800, batch=96, pool=16000)
    options = parser.parse_args(arguments)
    if options.tower == "toy12":
        from .train12 import make

        return run(lambda: make(options), goes_on="the same command with --resume goes on")

    from .train import make

    return run(lambda: make(options))


def common(description: str, file: str, seen: str, steps: int, batch: int, pool: int) -> argparse.ArgumentParser:
    """What all trainings are told, by the name of the shipped file, what a batch is of, and defaults."""
    parser = Parser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=TOY / file, help="file to write")
    parser.add_argument("--steps", type=at_least_one, default=steps, help="steps of the optimizer")
    parser.add_argument("--batch", type=at_least_one, default=batch, help=f"{seen} per step")
    parser.add_argument("--pool", type=at_least_one, default=pool, help="pictures drawn beforehand")
    parser.add_argument("--seed", type=at_least_zero, default=0, help="of the drawing, the training and the weights")
    return parser
