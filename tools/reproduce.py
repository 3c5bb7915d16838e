"""Measure a grid of methods, datasets and backbones."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg reproduce`."""
    return launch("reproduce", arguments)


if __name__ == "__main__":
    sys.exit(main())
