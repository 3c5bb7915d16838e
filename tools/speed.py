"""What a picture costs beside the bare vision transformer."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg speed`."""
    return launch("speed", arguments)


if __name__ == "__main__":
    sys.exit(main())
