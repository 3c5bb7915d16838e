"""What points of a picture look at, methods side by side, as SCLIP's figures show."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg attention`."""
    return launch("attention", arguments)


if __name__ == "__main__":
    sys.exit(main())
