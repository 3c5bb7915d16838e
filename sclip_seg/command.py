"""How every tool is run: what a user can cause becomes a line and exit status 2, in this one place."""

import argparse
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import completion
from .errors import InputError, warn_once
from .quiet import Quiet, as_asked

BAD_INPUT, STOPPED, CLOSED_PIPE = 2, 130, 141
STATUSES = "exit status: 0 done; 1 something failed or is off; 2 a line says what to mend;\n130 stopped"
OUT_OF_MEMORY = re.compile("not enough memory|can't allocate memory|Cannot allocate memory")  # torch's words


class Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument in one line, as everything else is said."""

    def __init__(self, **settings: object) -> None:
        settings.setdefault("prog", called())
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("epilog", STATUSES)
        super().__init__(**settings)
        self.add_argument("--quiet", action=Quiet, help="errors and the result alone: no bars, no notices")

    def parse_args(self, *arguments: object) -> argparse.Namespace:
        """As argparse's; answers a shell that asks what may follow."""
        if completion.is_asked():
            completion.answer(self)
        return super().parse_args(*arguments)

    def error(self, message: str) -> None:
        self.exit(BAD_INPUT, f"error: {one_line(message)} ({self.prog} --help shows the options)\n")


def called() -> str:
    """What this program was called by: `tools/test.py`, or `sclip-seg test`, which the launcher has put there."""
    place = Path(sys.argv[0])
    return f"tools/{place.name}" if place.parent.name == "tools" else place.name


def run(work: Callable[[], int | None], goes_on: str = "") -> int:
    """Exit status of `work`, 0 where it says none; 2 after a line for what a user can mend, 130 when stopped.

    `goes_on`: what to do after it was stopped.
    """
    warnings.showwarning = warn_once()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # so that nobody is told of half an import
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with as_asked():
            return work() or 0
    except KeyboardInterrupt:
        print(f"stopped{goes_on and '; '}{goes_on}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except Exception as error:
        told = message_of(error)
        if told is None:
            raise
        return failed(told)


def refusal(check: Callable[[], object]) -> Callable[[], None] | None:
    """What `run` is given, before a library is loaded, where a check that needs none raises InputError; else None."""
    try:
        check()
    except InputError as error:
        return partial(_refuse, error)
    return None


def _refuse(error: InputError) -> None:
    raise error


def failed(message: Exception | str) -> int:
    """Says so on stderr. The exit status."""
    print(f"error: {message}", file=sys.stderr)
    return BAD_INPUT


def message_of(error: Exception) -> str | None:
    """What to tell a user of an error that he can mend; None for a fault of ours."""
    if isinstance(error, InputError):
        # A registry puts the class in front of what its constructor says.
        return str(error).strip().rsplit("InputError: ", 1)[-1]
    if isinstance(error, RuntimeError) and type(error).__name__ == "OutOfMemoryError":  # a GPU's
        return "out of GPU memory; try --cfg-options model.window.batch=1"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error))):
        return "out of memory; fewer windows at a time need less (model.window.batch=1), and so do smaller pictures"
    if isinstance(error, OSError):  # a folder that cannot be written, a full disk
        return one_line(error)
    return None


def one_line(text: object) -> str:
    """Without line breaks."""
    return " ".join(str(text).split())


def at_least_one(text: str) -> int:
    """For argparse: a whole number from 1 on."""
    return _number(text, int, 1, "a whole number from 1 on")


def at_least_zero(text: str) -> int:
    """For argparse: a whole number from 0 on."""
    return _number(text, int, 0, "a whole number from 0 on")


def percent(text: str) -> float:
    """For argparse: a number from 0 to 100."""
    return _number(text, float, 0, "a number from 0 to 100", 100)


def share(text: str) -> float:
    """For argparse: a number from 0 to 1."""
    return _number(text, float, 0, "a number from 0 to 1", 1)


def _number(text: str, kind: type, low: int, words: str, high: int = 2**31 - 1) -> float:
    try:
        number = kind(text)
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {words}") from error
    return number
