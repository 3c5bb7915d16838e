"""Options of a command line for words that are to be found."""

import argparse

from ..command import Parser, at_least_one

LISTS = "benchmarks, imagenet, a shipped vocabulary's name, a file, FILE.txt, or several joined by +"


def add_auto_words(parser: argparse.ArgumentParser, asked: str) -> None:
    """The options; `asked` is what they go with."""
    group = parser.add_argument_group(f"with {asked}: words that nobody gave, found in the pictures")
    group.add_argument("--words", default=None, metavar="LIST", help=f"that they are among: {LISTS} (benchmarks)")
    group.add_argument("--also", metavar="WORDS", help="looked for whatever is found, as --classes")
    group.add_argument("--drop", metavar="WORDS", help="of the list that are not taken; commas between")
    group.add_argument(
        "--clusters", type=at_least_one, metavar="N", help="of patches (default: 12 of a picture, 64 of several)"
    )
    group.add_argument("--definitions", action="store_true", help="match by the words' definitions last; an experiment")


def check_auto_words(parser: Parser, options: argparse.Namespace, asked: str, is_asked: bool) -> None:
    """Ends the command where such an option is given, and words are not to be found."""
    given = [name for name in ("words", "also", "drop", "clusters", "definitions") if getattr(options, name)]
    if given and not is_asked:
        parser.error(f"--{given[0]} goes with {asked}")


def auto_settings(options: argparse.Namespace) -> dict[str, object]:
    """The arguments of `AutoWords`."""
    settings: dict[str, object] = {"definitions": options.definitions, "clusters": options.clusters}
    settings |= {"words": options.words} if options.words else {}
    for name in ("also", "drop"):
        entries = [entry.strip() for entry in (getattr(options, name) or "").split(",")]
        settings[name] = [entry for entry in entries if entry]
    return settings
