"""Pictures of one's own, any words: each pixel gets the word that fits it best."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg demo`."""
    return launch("demo", arguments)


if __name__ == "__main__":
    sys.exit(main())
