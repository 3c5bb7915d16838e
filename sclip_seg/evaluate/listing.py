"""Methods, datasets and backbones that there are, a line each.

  sclip-seg list
  sclip-seg list my_configs
  sclip-seg list --missing
  sclip-seg list --towers

With --missing: what each still needs on this machine, pictures or weights; no
network is asked. With --towers: which of open_clip's towers are read, RADIO's
too, and why the others are not.
"""

import ast
import csv
from pathlib import Path

from ..axes import PLACES
from ..choices import CONFIGS, choices
from ..command import Parser, run
from ..errors import InputError

TOWERS = Path(__file__).with_name("towers.tsv")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CONFIGS, metavar="DIR", help="a folder of configs")
    parser.add_argument("--missing", action="store_true", help="what each needs that is not on this machine")
    parser.add_argument(
        "--towers", action="store_true", help="every architecture of open_clip's and RADIO's, read or why not"
    )
    options = parser.parse_args(arguments)
    if options.towers:
        return run(show_towers)
    return run(lambda: show_choices(options.folder, options.missing))


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
    own = [row for row in rows if row["kind"] != "RADIO"]
    read = sum(row["read"] == "yes" for row in own)
    print(f"{read} of open_clip's {len(own)} are read, and {len(rows) - len(own)} of RADIO's from NVIDIA's files")


def show_choices(folder: Path, missing: bool = False) -> None:
    """The names of a folder of configs, each after its axis, with what it is or what it misses."""
    found = [(axis, name) for axis, names in choices(folder).items() for name in names]
    if not found:
        raise InputError(f"there are no configs in {folder}")
    said = _missing(folder) if missing else {key: _first_line(folder, *key) for key in found}
    width = max(len(f"{axis} {name}") for axis, name in found)
    for axis, name in found:
        print(f"{f'{axis} {name}':<{width}}  {said[axis, name]}".rstrip())


def _first_line(folder: Path, axis: str, name: str) -> str:
    """Of a config's docstring; the file is read and not run."""
    path = folder / f"{name}.py" if axis == "method" else folder / "_base_" / PLACES[axis] / f"{name}.py"
    try:
        told = ast.get_docstring(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError, OSError):
        return "(no config that can be read)"
    return (told or "").partition("\n")[0]


def _missing(folder: Path) -> dict[tuple[str, str], str]:
    from .missing import missing

    return missing(folder)
