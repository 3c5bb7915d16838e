"""Checks and measures on a GPU, in one go: `sclip-seg gpu-check`."""

import sys

import sclip_seg_cli


def main(arguments: list[str] | None = None) -> int:
    """Exit status."""
    return sclip_seg_cli.launch("gpu-check", arguments)


if __name__ == "__main__":
    sys.exit(main())
