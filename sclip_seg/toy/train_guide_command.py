"""Trains the toy guide, which says what patches belong together, on unlabelled drawn pictures (6 CPU minutes)."""

from ..command import run
from . import WORLDS
from .train_command import common


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = common(__doc__, "guide.safetensors", "windows", steps=300, batch=8, pool=2000)
    parser.add_argument("--world", choices=WORLDS, default="toy", help="whose pictures")
    options = parser.parse_args(arguments)

    from .train_guide import make

    return run(lambda: make(options))
