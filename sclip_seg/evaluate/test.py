"""Evaluate a method on a dataset.

    sclip-seg test sclip --dataset voc21
    sclip-seg test configs/sclip.py --dataset voc21 --backbone laion2b_vit_b16
    sclip-seg test sclip naclip clearclip --dataset voc21

Prints the per-class table, the mIoU and its signature, and writes result.json
beside the resolved config into the work folder. A run that was stopped is gone
on with by --resume, with the same score. Several methods go through the
pictures together, which costs little more than one of them and moves no score.
"""

import argparse
from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..choices import CONFIGS, method_file
from ..command import Parser, at_least_one, at_least_zero, refusal, run, share
from ..options import add_options
from ..words.auto_options import add_auto_words, check_auto_words
from .listing import show_choices


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "config",
        nargs="*",
        metavar="CONFIG",
        help="a method, by name or file: sclip, configs/sclip.py; several share what they read alike",
    )
    parser.add_argument("--dataset", metavar="NAME", help="a file of configs/_base_/datasets (default: voc21)")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="a file of configs/_base_/backbones, ARCH/TAG, hf-hub:OWNER/NAME, local-dir:FOLDER, a config's path",
    )
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/METHOD/BACKBONE/DATASET")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    parser.add_argument("--show-dir", metavar="DIR", help="write picture, prediction and label side by side")
    parser.add_argument("--out", metavar="DIR", help="write predicted label maps as PNG")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only; marked in the result")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, with the same score")
    parser.add_argument(
        "--skip-bad",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="pass over up to N bad files; marked in the result",
    )
    parser.add_argument("--cells", type=Path, metavar="FILE", help="a JSON list of such command lines, run together")
    parser.add_argument("--list", action="store_true", help="list methods, datasets and backbones, and end")
    parser.add_argument("--memory", metavar="NAME", help="of sclip-seg remember, beside the words: few-shot")
    parser.add_argument("--memory-weight", type=share, metavar="W", help="from 0, the words alone, to 1 (default: 0.5)")
    add_options(parser)
    free = parser.add_argument_group("words that nobody gave, scored by metrics of their own (free_words.json)")
    free.add_argument("--vocabulary", choices=("auto",), help="words are found in each picture")
    free.add_argument("--mapping", metavar="FILE", help="lines 'word: class': which class a found word means (LAVE)")
    free.add_argument("--sentence-model", metavar="DIR", help="who knows what names mean (default: CLIP's text tower)")
    add_auto_words(parser, "--vocabulary auto")
    options = parser.parse_args(arguments)
    check_free(parser, options)
    if not (options.config or options.list or options.cells):
        parser.error("a CONFIG is needed, e.g. sclip or configs/sclip.py (--list shows what there is)")
    options.configs, options.config = options.config, options.config[0] if options.config else None
    return options


def check_free(parser: Parser, options: argparse.Namespace) -> None:
    """Ends the command where options of found words are given without such words, or do not go with them."""
    is_free = options.vocabulary is not None
    check_auto_words(parser, options, "--vocabulary auto", is_free)
    own, other = ("mapping", "sentence_model"), ("resume", "skip_bad", "out", "show_dir", "cells", "memory")
    given = [name for name in (other if is_free else own) if getattr(options, name)]
    given += ["launcher"] if is_free and options.launcher != "none" else []
    if given:
        option = f"--{given[0].replace('_', '-')}"
        parser.error(f"{option} goes {'without' if is_free else 'with'} --vocabulary auto")
    if is_free and len(options.config) > 1:
        parser.error("--vocabulary auto takes one method at a time")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    options = parse(arguments)
    if options.list:
        return run(lambda: show_choices(method_file(options.config).parent if options.config else CONFIGS))
    chosen = partial(check_chosen, options.configs, [options.dataset], [options.backbone])
    if refused := refusal(chosen):
        return run(refused)

    if options.vocabulary:
        from .free_words.run import free_words

        return run(lambda: free_words(options))

    from .evaluation import alone, cells, together

    if options.cells:
        return run(lambda: cells(options.cells))
    work = partial(together, options) if len(options.configs) > 1 else partial(alone, options)
    return run(work, goes_on="the same command with --resume goes on")
