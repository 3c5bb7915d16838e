"""`--quiet`, which every word takes: errors and the result, no bars and no notices.

It is asked for in the environment, so that processes and ranks which are started inherit it. Our bars and warnings ask
`is_quiet`; what libraries of others say is silenced here, before they are imported.
"""

import argparse
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

ASKED = "SCLIP_SEG_QUIET"
OTHERS = {  # what they read when they are imported
    "TQDM_DISABLE": "1",  # bars that are not ours
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


class Quiet(argparse.Action):
    """The option: it goes into the environment, and not among what a word is given."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: object) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **settings)

    def __call__(self, *_) -> None:
        os.environ.update(OTHERS | {ASKED: "1"})
        warnings.showwarning = lambda *_: None  # while libraries are imported; then `command.run` sets its own


def is_quiet() -> bool:
    """Whether nobody wants to hear of anything but errors and the result."""
    return ASKED in os.environ


@contextmanager
def as_asked() -> Iterator[None]:
    """Where it was asked for, loggers say errors alone; afterwards it is asked for no more."""
    if not is_quiet():
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        for name in (ASKED, *OTHERS):
            os.environ.pop(name, None)
