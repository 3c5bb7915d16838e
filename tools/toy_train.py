"""Trains the toy CLIP from scratch on drawn scenes and their captions (two cores: about half an hour)."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg toy-train`."""
    return launch("toy-train", arguments)


if __name__ == "__main__":
    sys.exit(main())
