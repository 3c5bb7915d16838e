"""Make a bank of regions from a folder of pictures, for CorrCLIPv2.

    sclip-seg region-bank PICTURES --out bank.safetensors
    sclip-seg region-bank PICTURES --out bank.safetensors \\
        --auxiliary dfn_vit_b16

As released: values are CorrCLIP's features without merging (short side 448,
windows of 336, DINO), keys the features of CorrCLIPv2's guide, of the mean over
a region. Their settings are those of the two methods' configs; --cfg-options
changes CorrCLIP's.
"""

from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..command import Parser, refusal, run
from ..options import add_options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = Parser(description=__doc__)
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="a folder, with all below")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bank, FILE.safetensors")
    parser.add_argument("--backbone", metavar="NAME", help="a file of configs/_base_/backbones")
    parser.add_argument("--auxiliary", metavar="NAME", help="a second backbone, whose values are kept beside")
    add_options(parser)
    options = parser.parse_args(arguments)
    chosen = partial(check_chosen, (), (), [options.backbone, options.auxiliary])
    if refused := refusal(chosen):
        return run(refused)

    from .region_bank import make

    return run(lambda: make(options.pictures, options.out, options.backbone, options.auxiliary, options.cfg_options))
