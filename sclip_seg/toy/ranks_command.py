"""How far the toy world ranks methods as their papers do, from stored scores.

    sclip-seg toy-ranks tests/expectations/toy.json

Several files become columns side by side: each is of `sclip-seg reproduce
--store`, of one backbone and dataset.
"""

from pathlib import Path

from ..command import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="stored scores")
    options = parser.parse_args(arguments)

    from .ranks import measured_in, table

    return run(lambda: print(table({path.stem: measured_in(path) for path in options.files})))
