"""Hold every tower that open_clip knows, cut to one block, against itself.

sclip-seg towers ViT-B-16-SigLIP2 PE-Core-B-16
sclip-seg towers --write sclip_seg/evaluate/towers.tsv

Weights are random. A tower is read where the plain tail's features are its own
last tokens through its own projection, the pooled feature is its own, and a
prompt's feature is that of encode_text, within 1e-5 of the largest entry.
"""

from pathlib import Path

from ..command import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 1 where a tower is read otherwise than it reads itself; 2 after a line of what to mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("archs", nargs="*", metavar="ARCH", help="open_clip's names; all of them when none is given")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the table, as `sclip-seg list --towers` prints it")
    options = parser.parse_args(arguments)

    from .sweep import sweep

    return run(lambda: sweep(options))
