"""Progress bars, on a terminal alone, and what is said beside them; neither with `--quiet`."""

import sys

from tqdm import tqdm

from .quiet import is_quiet


class Bar(tqdm):
    """tqdm's; `hidden` where another process shows one."""

    def __init__(self, *arguments: object, hidden: bool = False, **settings: object) -> None:
        super().__init__(*arguments, disable=True if hidden or is_quiet() else None, **settings)


def notice(text: str) -> None:
    """Says on stdout how it goes, above the bar."""
    if not is_quiet():
        Bar.write(text)
        sys.stdout.flush()
