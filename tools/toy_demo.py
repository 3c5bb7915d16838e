"""The main job on the toy world, offline (`make demo`)."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg toy-demo`."""
    return launch("toy-demo", arguments)


if __name__ == "__main__":
    sys.exit(main())
