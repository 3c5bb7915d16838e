"""Labels to train on, for pictures of one's own and any words.

  sclip-seg label photos --classes "dog; puppy, grass" --format png --out labels
  sclip-seg label "shards/*.tar" film.mp4 --classes words.txt --format coco \\
      --out labels --unsure 0.3
  torchrun --nproc-per-node 8 -m sclip_seg_cli label photos \\
      --classes words.txt --format yolo --out labels

Takes pictures, folders with all that is below them, quoted patterns, lists
(FILE.txt, a path a line), tar shards as webdataset has them, and videos frame
by frame. The same command goes on after it was stopped. DIR/dataset.json says
who taught what; a region of COCO, YOLO and Label Studio is no instance.
"""

import argparse
from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..command import Parser, at_least_one, at_least_zero, refusal, run, share
from ..show.demo_command import add_how, check_words
from ..words.auto_options import add_auto_words

FORMATS = ("png", "coco", "yolo", "labelstudio", "npz")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, usage="%(prog)s PLACE... --classes WORDS --format NAME --out DIR")
    parser.add_argument("places", nargs="+", metavar="PLACE", help="folders, files, quoted patterns, lists")
    parser.add_argument("--classes", metavar="WORDS", help="as in sclip-seg demo; or a class file, FILE.txt")
    parser.add_argument("--memory", metavar="NAME", help="of sclip-seg remember, beside the words")
    parser.add_argument("--memory-weight", type=share, metavar="W", help="from 0, the words alone, to 1 (default: 0.5)")
    parser.add_argument("--background", metavar="WORDS", help="words of one class more, class 0, without regions")
    parser.add_argument("--dataset", metavar="NAME", help="the words of a benchmark, with its own settings")
    add_auto_words(parser, "--classes auto")
    how = add_how(parser)
    how.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="that decode (default: 2)")
    where = parser.add_argument_group("where; the folders are there on all machines")
    where.add_argument("--engine", choices=("local", "ray"), default="local", help="this process, or a Ray cluster")
    where.add_argument("--address", metavar="PLACE", help="of the cluster, as ray.init takes it (default: a new one)")
    where.add_argument("--jobs", type=at_least_one, metavar="N", help="labellers on it (default: one a GPU, or a CPU)")
    written = parser.add_argument_group("what is written")
    written.add_argument("--format", required=True, choices=FORMATS, help="of the labels")
    written.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of all that is written")
    written.add_argument("--unsure", type=share, default=0.0, metavar="P", help="ignored: best class below P in [0, 1]")
    written.add_argument(
        "--min-region", type=at_least_zero, default=0, metavar="PIXELS", help="smaller regions go to what is around"
    )
    written.add_argument("--polygons", action="store_true", help="in place of run lengths (coco, labelstudio)")
    written.add_argument("--scores", action="store_true", help="of all classes too (npz)")
    written.add_argument("--copy", action="store_true", help="the pictures too, in DIR/images (yolo: always)")
    options = parser.parse_args(arguments)
    check_words(parser, options)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after a line about each thing that the user can mend, or 130 when stopped."""
    options = parse(arguments)
    chosen = partial(check_chosen, [options.method], [options.dataset], [options.backbone])
    if refused := refusal(chosen):
        return run(refused)

    from .run import label

    return run(lambda: label(options), goes_on="the same command goes on")
