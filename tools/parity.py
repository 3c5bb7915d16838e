"""Our methods beside outputs of the official codes on tiny weights."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg parity`."""
    return launch("parity", arguments)


if __name__ == "__main__":
    sys.exit(main())
