"""Ranks the prompt templates of each class by how sure they are of it."""

import sys

from sclip_seg_cli import launch


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `sclip-seg rank-templates`."""
    return launch("rank-templates", arguments)


if __name__ == "__main__":
    sys.exit(main())
