"""Methods, datasets and backbones that there are, a line each.

With --towers: which of open_clip's towers are read, and why the others are not.

sclip-seg list
sclip-seg list my_configs
sclip-seg list --towers
"""

import csv
from pathlib import Path

from ..choices import CONFIGS, choices
from ..command import Parser, run
from ..errors import InputError

TOWERS = Path(__file__).with_name("towers.tsv")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CONFIGS, metavar="DIR", help="a folder of configs")
    parser.add_argument("--towers", action="store_true", help="every architecture of open_clip's, read or why not")
    options = parser.parse_args(arguments)
    return run(show_towers if options.towers else lambda: show_choices(options.folder))


def towers() -> list[dict[str, str]]:
    """The table that `sclip-seg towers --write` made: of each architecture what it has, and how it was found to be."""
    with open(TOWERS, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def show_towers() -> None:
    """Those that are read, by kind; those that are not, with the reason."""
    rows = towers()
    for row in rows:
        if row["read"] == "yes":
            token = "class token" if row["class token"] == "yes" else "no class token"
            tokenizer = f", words by {row['tokenizer']}" * bool(row["tokenizer"])
            what = f"{row['kind']}, {row['blocks']} blocks, patch {row['patch']}, {token}, pooled by {row['pooling']}"
            print(f"{row['arch']:<34} {what}{tokenizer}")
        else:
            print(f"{row['arch']:<34} {'not read' if row['read'] == 'no' else row['read']}: {row['said']}")
    print(f"{sum(row['read'] == 'yes' for row in rows)} of {len(rows)} are read")


def show_choices(folder: Path) -> None:
    """The names of a folder of configs, each after its axis."""
    found = [f"{axis} {name}" for axis, names in choices(folder).items() for name in names]
    if not found:
        raise InputError(f"there are no configs in {folder}")
    print("\n".join(found))
