"""What a grid shows while it works: lines that stay, and on a terminal a block below them that is drawn anew."""

import shutil
from collections.abc import Sequence
from typing import TextIO

from ...quiet import is_quiet

UP_AND_CLEAR = "\x1b[{}F\x1b[J"


class Screen:
    """`say` prints a line for good, `show` replaces the block below.

    Without a terminal there is no block, and with `--quiet` nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.is_live = stream.isatty() and not is_quiet()
        self.block: list[str] = []

    def say(self, text: str) -> None:
        """A line (or several) that stays."""
        if is_quiet():
            return
        block = self.block
        self._clear()
        print(text, file=self.stream, flush=True)
        self.show(block)

    def show(self, lines: Sequence[str]) -> None:
        """The block: one screen line each, cut at the terminal's width."""
        if not self.is_live:
            return
        columns, rows = shutil.get_terminal_size()
        block = [line[: columns - 1] for line in lines][-(rows - 1) :]
        if block == self.block:
            return
        self._clear()
        self.block = block
        for line in block:
            print(line, file=self.stream)
        self.stream.flush()

    def _clear(self) -> None:
        if self.block:
            self.stream.write(UP_AND_CLEAR.format(len(self.block)))
            self.block = []


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
