"""Rank the prompt templates of each class by how sure they are of it (FLOSS).

  sclip-seg rank-templates naclip --dataset voc20 --pictures DIR --out FILE
  sclip-seg test naclip --dataset voc20 --cfg-options model.logit_scale=100 \\
      "model.stages=[{'type': 'TemplateExperts', 'experts': 'FILE'}]"

DIR holds unlabelled pictures of the target, of its training split for a score
that may be published; a few dozen are enough. The method's own settings on the
dataset hold, but for what --cfg-options change.
"""

from functools import partial
from pathlib import Path

from ..axes import check_chosen
from ..command import Parser, at_least_one, refusal, run
from ..options import add_options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("config", metavar="CONFIG", help="a method, by name or file")
    parser.add_argument("--dataset", metavar="NAME", help="whose names and settings (default: voc21)")
    parser.add_argument("--backbone", metavar="NAME", help="a file of configs/_base_/backbones")
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="unlabelled pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file of experts, JSON")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only, by name")
    add_options(parser)
    options = parser.parse_args(arguments)
    chosen = partial(check_chosen, [options.config], [options.dataset], [options.backbone])
    if refused := refusal(chosen):
        return run(refused)

    from .rank_templates import rank

    return run(lambda: rank(options))
