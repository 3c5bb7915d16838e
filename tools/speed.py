"""What a picture costs beside the bare vision transformer: `sclip-seg speed`."""

import sys

import sclip_seg_cli


def main(arguments: list[str] | None = None) -> int:
    """Exit status."""
    return sclip_seg_cli.launch("speed", arguments)


if __name__ == "__main__":
    sys.exit(main())
