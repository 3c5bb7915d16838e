"""Converts SCAN's published checkpoint into transformers' Mask2Former."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg convert-scan`."""
    return launch("convert-scan", arguments)


if __name__ == "__main__":
    sys.exit(main())
