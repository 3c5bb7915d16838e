"""What points of a picture look at, methods side by side, as SCLIP's figures show.

    sclip-seg attention cat.jpg --points 120,80 300,200 --methods clip gem

Draws, over the picture, the attention weights of each point's patch in the last
block or another one, from the code that computes the scores. A point lies in
several windows: shown is the one whose middle it is nearest to, framed. Where a
method looks across windows, all of them are shown, their weights added up.
"""

import argparse
from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..command import Parser, at_least_one, refusal, run


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("picture", metavar="PICTURE", type=Path)
    parser.add_argument(
        "--points", nargs="+", default=[], type=point, metavar="X,Y", help="pixels from the left and from the top"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["clip", "sclip"],
        metavar="NAME",
        help="or paths of configs (default: clip sclip)",
    )
    parser.add_argument(
        "--backbone", default="openai_vit_b16", metavar="NAME", help="default: openai_vit_b16; toy works offline"
    )
    parser.add_argument("--block", type=at_least_one, metavar="N", help="counted from 1 (default: the last one)")
    parser.add_argument(
        "--heads",
        type=heads,
        default=(),
        metavar="HEADS",
        help="mean (default), each, or numbers from 1, e.g. 1,4; but for mean one figure a point",
    )
    parser.add_argument("--whole", action="store_true", help="read the picture as one window")
    parser.add_argument(
        "--classes",
        metavar="WORDS",
        help="commas separate classes, ';' synonyms; or a class file, FILE.txt; for --scores, and for methods whose "
        "attention looks at words",
    )
    parser.add_argument("--background", metavar="WORDS", help="words of one class more")
    parser.add_argument("--scores", action="store_true", help="also draw the score map of every word of --classes")
    parser.add_argument(
        "--npz",
        action="store_true",
        help="also write the weights, (heads, rows, columns), and of methods that look across windows those of all of "
        "them, (windows, heads, rows, columns)",
    )
    parser.add_argument("--out-dir", metavar="DIR", type=Path, default=Path("work_dirs/attention"))
    options = parser.parse_args(arguments)
    if not options.points and not options.scores:
        parser.error("say where to look: --points X,Y, pixels from the left and from the top (or --scores)")
    if options.scores and options.classes is None:
        parser.error("--scores needs words: --classes 'cat, dog; puppy'")
    if options.background is not None and options.classes is None:
        parser.error("--background needs the words of the classes beside it: --classes 'cat, dog; puppy'")
    options.methods = list(dict.fromkeys(options.methods))
    names = [Path(method).stem for method in options.methods]
    if len(set(names)) < len(names):
        parser.error(f"--methods has two methods of one name: {', '.join(names)}")
    return options


def point(text: str) -> tuple[int, int]:
    """(y, x) of 'x,y'."""
    x, separator, y = text.partition(",")
    if not (separator and x.strip().isdecimal() and y.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no point; X,Y in whole pixels is, e.g. 120,80")
    return int(y), int(x)


def heads(text: str) -> tuple[int, ...] | None:
    """Heads counted from 0; none of them is their mean, None is each."""
    if text in ("mean", "each"):
        return () if text == "mean" else None
    numbers = text.split(",")
    if not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: mean, each, or numbers from 1, e.g. 1,4")
    return tuple(int(number) - 1 for number in numbers)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    options = parse(arguments)
    chosen = partial(check_chosen, options.methods, [], [options.backbone])
    if refused := refusal(chosen):
        return run(refused)

    from .attention import draw

    return run(lambda: draw(options))
