"""Completion of a shell's command line, by argcomplete where it is installed: words, options, methods and datasets.

The shell calls `sclip-seg` with the line in `COMP_LINE`; no library but argcomplete is loaded for the answer.
"""

import argparse
import os

from .choices import CONFIGS, choices

MARK = "_ARGCOMPLETE"
AXES = {
    **dict.fromkeys(("config", "method", "methods"), "method"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
    **dict.fromkeys(("backbone", "backbones", "auxiliary"), "backbone"),
}


def is_asked() -> bool:
    """Whether a shell waits for completions."""
    return MARK in os.environ


def answer(parser: argparse.ArgumentParser) -> None:
    """Tells the shell what may follow, and ends the process; returns where argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    for action in parser._actions:
        if action.dest in AXES:
            action.completer = argcomplete.ChoicesCompleter(choices(CONFIGS)[AXES[action.dest]])
    argcomplete.autocomplete(parser)


def word(words: list[str]) -> str | None:
    """The word that the line has already; without one `sclip-seg` is asked for words, and answers."""
    typed = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    given = [text for text in typed[1:-1] if text]
    if given and given[0] in words:
        os.environ[MARK] = str(int(os.environ[MARK]) + 1)  # the line of that word begins one further on
        return given[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("word", choices=words)
    answer(parser)
    return None
