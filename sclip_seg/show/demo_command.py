"""Pictures of one's own, any words: each pixel gets the word that fits it best.

  sclip-seg demo dog.jpg --classes "dog; puppy, grass; lawn, sky"
  sclip-seg demo photos "b/*.png" --classes "cat, sofa" --background wall
  sclip-seg demo photos --dataset voc21 --method naclip
  sclip-seg demo photos --classes auto

Writes, for each picture, NAME.overlay.png (the picture under its classes'
colours, and a legend) and NAME.labels.png (each pixel the number of its class,
from 0, with the same colours), and prints what covers most of it. What
--classes auto has found, and how sure it is, goes to words.json.
"""

import argparse
from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..command import Parser, refusal, run, share
from ..options import add_options
from ..words.auto_options import add_auto_words, check_auto_words


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        description=__doc__,
        usage="%(prog)s PICTURE... (--classes WORDS | --dataset NAME) [options]",
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="files, folders, or quoted patterns like 'a/*'")
    words = parser.add_argument_group("what to look for, one of --classes and --dataset")
    words.add_argument(
        "--classes", metavar="WORDS", help="commas between classes, ';' between synonyms; a class file, FILE.txt; auto"
    )
    words.add_argument("--memory", metavar="NAME", help="of sclip-seg remember, beside the words")
    words.add_argument("--memory-weight", type=share, metavar="W", help="from 0, the words alone, to 1 (default: 0.5)")
    words.add_argument("--background", metavar="WORDS", help="words of one class more, which is left unpainted")
    words.add_argument("--dataset", metavar="NAME", help="the words of a benchmark, with its own settings")
    add_auto_words(parser, "--classes auto")
    parser.add_argument("--each", action="store_true", help="with --classes auto: words of each picture's own")
    add_how(parser)
    written = parser.add_argument_group("what is written")
    written.add_argument("--out-dir", type=Path, default=Path("work_dirs/pictures"), metavar="DIR", help="%(default)s")
    written.add_argument("--resume", action="store_true", help="leave out pictures whose results are there")
    written.add_argument("--npz", action="store_true", help="NAME.npz too: labels, scores (float16), classes")
    options = parser.parse_args(arguments)
    check_words(parser, options)
    return options


def add_how(parser: Parser) -> argparse._ArgumentGroup:
    """The arguments that say how pictures are segmented, as a group."""
    how = parser.add_argument_group("how; sclip-seg list has the names")
    how.add_argument("--method", default="sclip", metavar="NAME", help="or a config file (default: sclip)")
    how.add_argument(
        "--backbone", default="openai_vit_b16", metavar="NAME", help="(default: openai_vit_b16; toy is offline)"
    )
    how.add_argument("--device", metavar="NAME", help="'cpu', or one that torch knows (default: the fastest)")
    add_options(how, "any setting")
    return how


def check_words(parser: Parser, options: argparse.Namespace) -> None:
    """Ends the command where words come from nowhere, or from two places."""
    if (options.classes is None) == (options.dataset is None):
        parser.error("one of --classes 'cat, dog; puppy' and --dataset NAME is needed, and only one")
    if options.background is not None and options.dataset is not None:
        parser.error("--background goes with --classes; a --dataset has a background of its own, or none")
    is_auto = options.classes == "auto"
    check_auto_words(parser, options, "--classes auto", is_auto)
    if getattr(options, "each", False) and not is_auto:
        parser.error("--each goes with --classes auto")
    if options.memory and is_auto:
        parser.error("--memory goes with words that are given, and not with --classes auto")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after a line about each thing that the user can mend, or 130 when stopped."""
    options = parse(arguments)
    chosen = partial(check_chosen, [options.method], [options.dataset], [options.backbone])
    if refused := refusal(chosen):
        return run(refused)

    from .demo import demo

    return run(lambda: demo(options), goes_on="the same command with --resume goes on")
