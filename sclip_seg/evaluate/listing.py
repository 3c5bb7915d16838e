"""Methods, datasets and backbones that there are, a line each.

sclip-seg list
sclip-seg list my_configs
"""

from pathlib import Path

from ..command import Parser, run
from ..config import CONFIGS, choices
from ..errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CONFIGS, metavar="DIR", help="a folder of configs")
    options = parser.parse_args(arguments)
    return run(lambda: show_choices(options.folder))


def show_choices(folder: Path) -> None:
    """The names of a folder of configs, each after its axis."""
    found = [f"{axis} {name}" for axis, names in choices(folder).items() for name in names]
    if not found:
        raise InputError(f"there are no configs in {folder}")
    print("\n".join(found))
