"""Remember a few labelled pictures, so that what they show is found again.

    sclip-seg remember mugs PICTURES LABELS --classes "table, my mug, your mug"
    sclip-seg remember mugs PICTURES clicks.json
    sclip-seg demo photos --classes "table, window" --memory mugs

LABELS is a folder of label maps, NAME.png for the picture NAME.jpg, whose value
v is class v of --classes (255 is none); or a JSON list of clicks, each
{"picture": "NAME.jpg", "name": "my mug", "point": [y, x]} or with a "box":
[top, left, bottom, right] in pixels. Features are those of the method and the
backbone, and go with these alone. A score with a memory is few-shot.
"""

from pathlib import Path

from ..command import Parser, run
from ..options import add_options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("name", metavar="NAME", help="of the memory, in work_dirs/memory; or FILE.safetensors")
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="the folder that the labelled pictures are in")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="a folder of label maps, or FILE.json")
    parser.add_argument("--classes", metavar="WORDS", help="of the label maps: commas between them, or a class file")
    parser.add_argument("--method", default="sclip", metavar="NAME", help="(default: sclip)")
    parser.add_argument("--backbone", default="openai_vit_b16", metavar="NAME", help="(default: openai_vit_b16)")
    parser.add_argument(
        "--per", choices=("patch", "region"), default="patch", help="what is kept: patches, or a mean a region"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    if (options.classes is None) == (options.labels.suffix.lower() != ".json"):
        parser.error("label maps need --classes, and clicks have names of their own")

    from .remember import remember

    return run(lambda: remember(options))
