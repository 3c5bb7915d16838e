"""A page to play with: a picture, words, one method or two side by side."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg app`."""
    return launch("app", arguments)


if __name__ == "__main__":
    sys.exit(main())
