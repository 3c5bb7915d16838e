"""Benchmarks under data/: `list`, `download NAME`, `convert NAME`, `verify NAME`.

    sclip-seg prepare download ade20k
    sclip-seg prepare convert coco_object
    sclip-seg prepare convert coco_object --corrected
    sclip-seg prepare convert voc21 --first 20
    sclip-seg prepare verify voc21

COCO-Object is converted as released: whatever is no thing is background.
`--corrected` keeps unlabelled pixels ignored, in a folder of its own.
`--first 20` makes a tree of 20 pictures for a trial, data/first_20/. Each
command can be stopped and run again; what is there is kept.
"""

import argparse
from pathlib import Path

from ...command import Parser, at_least_one, run


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helps = {
        "list": "every dataset, and whether it is ready",
        "verify": "look through all pictures and labels, and draw an overview",
        "convert": "make the labels that are evaluated, where they are not those of the download",
        "download": "fetch and unpack what needs no login; say what else to fetch",
    }
    added = {name: commands.add_parser(name, help=text, description=text) for name, text in helps.items()}
    for name, command in added.items():
        command.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
        if name != "list":
            command.add_argument("name", metavar="NAME", help="a dataset, as `list` shows them")
    count = added["verify"].add_mutually_exclusive_group()
    count.add_argument("--first", type=at_least_one, metavar="N", help="the first N pictures only, of any number")
    count.add_argument("--any-count", action="store_true", help="another number of pictures is no fault")
    added["verify"].add_argument("--overview", type=Path, metavar="FILE", help="default: work_dirs/prepare/NAME.png")
    added["convert"].add_argument("--first", type=at_least_one, metavar="N", help="make a small tree, DIR/first_N")
    added["convert"].add_argument("--force", action="store_true", help="write over what is there")
    for name in ("verify", "convert"):
        added[name].add_argument("--corrected", action="store_true", help="COCO-Object with unlabelled pixels ignored")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after what the user can mend, or 130 when stopped."""
    options = parse(arguments)

    from .work import get, look, make, show

    work = {"list": show, "verify": look, "convert": make, "download": get}[options.command]
    return run(lambda: work(options), goes_on="the same command goes on")
