"""Evaluate a method on a dataset."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg test`."""
    return launch("test", arguments)


if __name__ == "__main__":
    sys.exit(main())
