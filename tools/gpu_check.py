"""Checks and measures on a GPU, in one go."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg gpu-check`."""
    return launch("gpu-check", arguments)


if __name__ == "__main__":
    sys.exit(main())
