"""Measured scores beside published ones."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg report`."""
    return launch("report", arguments)


if __name__ == "__main__":
    sys.exit(main())
