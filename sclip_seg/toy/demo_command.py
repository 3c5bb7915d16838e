"""The main job on the toy world, offline (`make demo`).

Draws it under data/toy, evaluates every method, prints one table, and draws
predictions side by side into work_dirs/demo.
"""

from ..command import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    Parser(description=__doc__).parse_args(arguments)

    from .demo import demo

    return run(demo)
