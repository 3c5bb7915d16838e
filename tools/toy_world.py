"""Draws the toy benchmark: pictures, labels with a background class, and labels without one."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg toy-world`."""
    return launch("toy-world", arguments)


if __name__ == "__main__":
    sys.exit(main())
