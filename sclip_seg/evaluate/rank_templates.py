"""The work of `sclip-seg rank-templates`: how sure each prompt template is of a class (FLOSS)."""

import argparse
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope

from ..bars import Bar
from ..config import load_config
from ..data.loading import read_picture
from ..data.pictures import SUFFIXES
from ..errors import InputError
from ..picture.segmentor import OpenVocabSegmentor
from ..picture.stages.experts import TemplateRanking
from ..words.experts import Experts


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
    for path in Bar(pictures, desc="pictures", unit="picture", leave=False):
        for seen in model.look(*model.data_preprocessor.of_pictures([read_picture(path)])):
            model.score(seen)
    return ranking
