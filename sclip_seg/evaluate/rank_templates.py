"""Rank the prompt templates of each class by how sure they are of it (FLOSS).

  sclip-seg rank-templates naclip --dataset voc20 --pictures DIR --out FILE
  sclip-seg test naclip --dataset voc20 --cfg-options model.logit_scale=100 \\
      "model.stages=[{'type': 'TemplateExperts', 'experts': 'FILE'}]"

DIR holds unlabelled pictures of the target, of its training split for a score
that may be published; a few dozen are enough. The method's own settings on the
dataset hold, but for what --cfg-options change.
"""

import argparse
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from tqdm import tqdm

from ..command import Parser, at_least_one, run
from ..config import load_config
from ..data.loading import read_picture
from ..errors import InputError
from ..options import add_options
from ..picture.segmentor import OpenVocabSegmentor
from ..picture.stages.experts import TemplateRanking
from ..words.experts import Experts

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


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
    return run(lambda: rank(options))


def rank(options: argparse.Namespace) -> None:
    """Writes the file of experts."""
    pictures = pictures_of(options.pictures)[: options.limit]
    config = load_config(options.config, options.dataset, options.backbone, options.cfg_options)
    init_default_scope(config.default_scope)
    config.model.stages = []
    model = MODELS.build(config.model).eval().to(get_device())
    ranking = ranked(model, pictures)
    axes = config.axes
    made_with = f"{axes.method} on {axes.dataset}, {axes.backbone}#{model.backbone.digest}, {len(pictures)} pictures"
    experts = Experts(tuple(map(tuple, ranking.ranked())), model.vocabulary.digest, tuple(model.templates), made_with)
    experts.save(options.out, model.vocabulary)
    unseen = [name for name, row in zip(model.vocabulary.names, experts.ranked, strict=True) if not row]
    if unseen:
        print(
            f"warning: no template ever answers {', '.join(unseen)}; more pictures may, and without them it is an error"
        )
    print(f"written to {options.out} (#{experts.digest})")


def pictures_of(folder: Path) -> list[Path]:
    """All below the folder, sorted. Raises InputError where there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"there are no pictures in {folder}")
    return found


@torch.no_grad()
def ranked(model: OpenVocabSegmentor, pictures: list[Path]) -> TemplateRanking:
    """What every template of the model makes of the pictures."""
    ranking = TemplateRanking()
    model.stages = torch.nn.ModuleList([ranking])
    model.prepare()
    for path in tqdm(pictures, desc="pictures", unit="picture", leave=False, disable=None):
        for seen in model.look(*model.data_preprocessor.of_pictures([read_picture(path)])):
            model.score(seen)
    return ranking
