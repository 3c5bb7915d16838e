"""Train a student on labels that sclip-seg label wrote.

  sclip-seg label photos --dataset voc20 --format png --copy --out labels
  sclip-seg train segformer_b0 --data labels --work-dir student
  sclip-seg score-student student --dataset voc20

CONFIG is one of configs/students, or a config of one's own that builds on
configs/students/_labels.py: mmsegmentation's words, handed to mmengine's
Runner. Its networks start from published weights, which are downloaded; without
them: --cfg-options model.backbone.init_cfg=None. What was stopped goes on with
--resume.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, run
from ..options import add_options


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("config", metavar="CONFIG", help="a name or a file: segformer_b0, deeplabv3plus_r50")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what sclip-seg label wrote (png)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="what was labelled (default: the copies in DATA)")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="default: work_dirs/students/CONFIG")
    parser.add_argument("--iters", type=at_least_one, metavar="N", help="iterations (default: 8000)")
    parser.add_argument("--crop", type=at_least_one, metavar="PIXELS", help="side of the crops (default: 512)")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was stopped")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    add_options(parser, "any setting")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)

    from .train import train

    return run(lambda: train(options), goes_on="the same command with --resume goes on")
