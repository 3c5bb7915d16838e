"""The main job on the toy world, offline (`make demo`).

Draws both toy worlds under data/, evaluates ten methods of different kinds
(every method with --all, as `make demo-all`) on the rich one with the toy CLIP
of twelve blocks, prints one table, and draws predictions side by side into
work_dirs/demo.
"""

from ..command import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every method")
    options = parser.parse_args(arguments)

    from .demo import demo

    return run(lambda: demo(options.all))
