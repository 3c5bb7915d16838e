"""Trains the toy guide, which says what patches belong together, on unlabelled drawn pictures (6 CPU minutes)."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg toy-guide-train`."""
    return launch("toy-guide-train", arguments)


if __name__ == "__main__":
    sys.exit(main())
