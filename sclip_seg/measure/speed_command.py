"""What a picture costs beside the bare vision transformer (`make speed`).

Per case, in one run, interleaved: the bare trunk (open_clip's own `visual`, the
same windows in one batch), with its second models where a method asks any, and
with the crops that it sends through the trunk ("towers"), ours (from the
decoded picture to its labels) and the published chain written plainly
(plain_chain.py of the tests, a window at a time). Weights are random: speed
does not depend on them. `--regions N` has regions come from disk. Prints a
table and writes work_dirs/speed/speed.json. `--shared`: ten methods over one
trunk, and a sweep of twenty scales and thresholds, beside one trunk and beside
each alone.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from ..choices import CONFIGS, choices
from ..command import Parser, at_least_one, run

PRECISIONS = ("fp32", "bf16", "fp16")
QUICK = ("voc21", "coco_object")


@dataclass(frozen=True)
class Case:
    """A picture of a benchmark: its config's name and its size (H, W) in pixels."""

    dataset: str
    size: tuple[int, int]
    timed: bool = True


CASES = {
    "voc21": Case("voc21", (375, 500)),
    "coco_object": Case("coco_object", (480, 640)),
    "coco_stuff164k": Case("coco_stuff164k", (480, 640)),
    "ade20k": Case("ade20k", (512, 683)),
    "cityscapes": Case("cityscapes", (1024, 2048)),
    "ade20k_large": Case("ade20k", (2000, 3000), timed=False),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)

    from .speed import measure_all

    return run(lambda: measure_all(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = Parser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)} in the first precision only")
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, metavar="CASE", help=f"of {', '.join(CASES)}; default: all"
    )
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, help="default: fp16 on CUDA, fp32 and bf16 elsewhere"
    )
    methods = choices(CONFIGS)["method"]
    parser.add_argument(
        "--method", nargs="+", choices=[*methods, "all"], default=["sclip"], metavar="METHOD", help="some, or all"
    )
    backbones = choices(CONFIGS)["backbone"]
    parser.add_argument("--backbone", choices=backbones, default="openai_vit_b16", metavar="NAME")
    parser.add_argument(
        "--regions",
        type=at_least_one,
        metavar="N",
        help="so many regions, read from disk; default: those that felzenszwalb finds anew",
    )
    parser.add_argument("--rounds", type=at_least_one, default=5, help="interleaved; the median is taken")
    parser.add_argument("--reference-rounds", type=at_least_one, default=1, help="rounds of the slow plain chain")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument(
        "--shared", action="store_true", help="what methods cost that share a trunk, and a sweep, in place of the above"
    )
    parser.add_argument("--out", type=Path, default=Path("work_dirs/speed/speed.json"))
    options = parser.parse_args(arguments)
    options.method = methods if "all" in options.method else options.method
    return options
