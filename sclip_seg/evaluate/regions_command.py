"""Find the regions of a dataset's pictures ahead, and keep them for the runs.

    sclip-seg regions voc21 --provider sam2
    sclip-seg regions toy --provider felzenszwalb --show-dir drawn \\
        --cfg-options sigma=0.5 min_size=50

Pictures whose regions are kept already are passed over, so that the same
command goes on with one that was stopped. A run finds them where its config
names the same provider, with the same settings and weights.
"""

from functools import partial

from ..axes import check_chosen
from ..command import Parser, at_least_one, refusal, run
from ..options import add_options

FOLDER = "work_dirs/regions"
PROVIDERS = ("eomt", "felzenszwalb", "files", "mask2former", "maskformer", "sam2", "sam2_8", "slic")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = Parser(description=__doc__)
    parser.add_argument("dataset", metavar="DATASET", help="a file of configs/_base_/datasets")
    parser.add_argument("--provider", default="sam2", metavar="NAME", help=", ".join(PROVIDERS))
    parser.add_argument("--folder", default=FOLDER, metavar="DIR", help=f"where they are kept (default: {FOLDER})")
    parser.add_argument("--method", default="sclip", metavar="CONFIG", help="whose config the dataset is read by")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only")
    parser.add_argument("--show-dir", metavar="DIR", help="draw them over their pictures")
    add_options(parser, "set an option of the provider")
    options = parser.parse_args(arguments)
    chosen = partial(check_chosen, [options.method], [options.dataset])
    if refused := refusal(chosen):
        return run(refused)

    from .regions_ahead import find

    return run(lambda: find(**vars(options)), goes_on="the same command goes on")
