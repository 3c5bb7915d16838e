"""Convert SCAN's published checkpoint into a folder of transformers' Mask2Former.

    sclip-seg convert-scan FILE --out FOLDER

FILE is the authors' (github.com/yongliu20/SCAN), of detectron2; it is read as
data, and nothing in it is run. Only names change, and each tensor is accounted
for: the network, head.safetensors that is held against texts,
integration.safetensors (what asks CLIP), clip.safetensors, the CLIP that was
trained to see shifted crops, and original.safetensors, the one that was not,
both in open_clip's layout. configs/scan.py says how they are used. The weights
are CC BY-NC.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="the authors' checkpoint")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="written for the provider mask2former"
    )
    parser.add_argument("--short-side", type=at_least_one, default=640, help="of pictures")
    parser.add_argument("--long-side", type=at_least_one, default=2560, help="at most")
    options = parser.parse_args(arguments)

    from ..regions.convert_scan import convert

    return run(lambda: convert(options.file, options.out, options.short_side, options.long_side))
