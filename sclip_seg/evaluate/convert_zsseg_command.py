"""Convert zsseg's published checkpoint into a folder of transformers' MaskFormer.

    sclip-seg convert-zsseg FILE --out FOLDER
    sclip-seg test zsseg --dataset ade20k --cfg-options \\
        model.stages.0.regions.checkpoint=FOLDER \\
        model.stages.0.regions.trained_on=COCO-Stuff-156 \\
        model.stages.0.head=FOLDER/head.safetensors model.stages.0.share=0.5

FILE is the authors' (github.com/MendelXu/zsseg.baseline), of detectron2; it is
read as data, and nothing in it is run. Only names change, and each tensor is
accounted for: the network, the head that is held against texts, learned prompts
where there are some (prompt.safetensors, which nothing here reads yet). CLIP
itself is left out: it is OpenAI's ViT-B/16.
"""

import argparse
from pathlib import Path

from ..command import Parser, at_least_one, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="the authors' checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written for the provider maskformer")
    parser.add_argument("--short-side", type=at_least_one, default=512, help="of pictures: 512, COCO-Stuff 640")
    parser.add_argument("--long-side", type=at_least_one, default=2048, help="at most; COCO-Stuff 2560")
    options = parser.parse_args(arguments)

    from ..regions.convert_zsseg import convert

    return run(lambda: convert(options.file, options.out, options.short_side, options.long_side))
