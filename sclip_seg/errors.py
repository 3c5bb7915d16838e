"""The one exception for a user's mistake, near names for it, and how warnings reach a user."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable

from .quiet import is_quiet

LISTED = 60  # names; more of them help nobody


class InputError(ValueError):
    """What is wrong, where, and what to do about it. Tools print the message and exit with status 2."""


def warn_once(printed: set[str] | None = None) -> Callable:
    """For `warnings.showwarning`: a line for the user, once for what several parts of a run say, and by one rank.

    What it returns keeps the lines, in order, as `shown`; with `--quiet` they are kept and not printed. `printed` holds
    what has been printed by runs that go on together, and is not printed again.
    """
    seen, shown, printed = set(), [], set() if printed is None else printed

    def show(message: Warning, category: type, *_) -> None:
        text = str(message)
        is_new = text not in seen
        seen.add(text)
        if is_new and issubclass(category, UserWarning) and int(os.environ.get("RANK", 0)) == 0:
            shown.append(text)
            if text not in printed and not is_quiet():
                print(f"warning: {text}", file=sys.stderr)
            printed.add(text)

    show.shown = shown
    return show


def near(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...` with the near names, else the list of all, unless it is long."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are: {', '.join(names)}" if 0 < len(names) <= LISTED else ""
