"""Words found and things remembered in the toy world, offline.

The names of its scenes are hidden, and found among two lists of words by three
methods: how many of those that are there, how many that are not, and what the
metrics of free words say. Then three labelled scenes are remembered, beside
words, one of which the toy CLIP never learned. Everything is written into
work_dirs/toy_words. A toy: what real weights do is another question.
"""

from pathlib import Path

from ..command import Parser, at_least_one, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/toy"), metavar="DIR", help="the world (data/toy)")
    parser.add_argument("--limit", type=at_least_one, default=100, metavar="N", help="scenes (default: 100)")
    options = parser.parse_args(arguments)

    from .words import show

    return run(lambda: show(options.data, options.limit))
