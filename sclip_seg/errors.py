"""The one exception for a user's mistake, and how warnings reach a user."""

import os
import sys
from collections.abc import Callable


class InputError(ValueError):
    """What is wrong, where, and what to do about it. Tools print the message and exit with status 2."""


def warn_once() -> Callable:
    """For `warnings.showwarning`: a line for the user, once for what several parts of a run say, and by one rank.

    What it returns keeps the lines that were shown, in order, as `shown`.
    """
    seen, shown = set(), []

    def show(message: Warning, category: type, *_) -> None:
        is_new = str(message) not in seen
        seen.add(str(message))
        if is_new and issubclass(category, UserWarning) and int(os.environ.get("RANK", 0)) == 0:
            shown.append(str(message))
            print(f"warning: {message}", file=sys.stderr)

    show.shown = shown
    return show
