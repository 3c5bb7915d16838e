"""Converts zsseg's published checkpoint into transformers' MaskFormer."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg convert-zsseg`."""
    return launch("convert-zsseg", arguments)


if __name__ == "__main__":
    sys.exit(main())
