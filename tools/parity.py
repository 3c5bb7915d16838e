"""Our methods beside outputs of the official codes: `sclip-seg parity DIR`."""

import sys

import sclip_seg_cli


def main(arguments: list[str] | None = None) -> int:
    """Exit status."""
    return sclip_seg_cli.launch("parity", arguments)


if __name__ == "__main__":
    sys.exit(main())
