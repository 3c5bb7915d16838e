"""Benchmarks under data/: `list`, `download NAME`, `convert NAME`, `verify NAME`."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg prepare`."""
    return launch("prepare", arguments)


if __name__ == "__main__":
    sys.exit(main())
