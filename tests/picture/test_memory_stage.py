"""A memory beside the words: what is blended with what, and what it is refused with."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sclip_seg.errors import InputError
from sclip_seg.regions.memory import RegionMemory
from sclip_seg.registry import STAGES

CLASSES = ["dog; puppy", "cat", "my mug"]


def built(build_segmentor, tmp_path, names=("My Mug", "puppy", "owl"), **settings):
    """A segmentor with a memory of nine keys, and the memory's path."""
    model = build_segmentor(vocabulary=CLASSES, logit_scale=None)
    keys = F.normalize(torch.randn(9, 24, generator=torch.Generator().manual_seed(0)), dim=1)
    path = tmp_path / "m.safetensors"
    made = {"tower": model.backbone.digest}
    RegionMemory("m", keys, torch.arange(9) % 3, tuple(names), 2, made).write(path)
    stage = STAGES.build(dict(type="Memory", memory=str(path), neighbours=4, temperature=0.2, **settings))
    model.stages = torch.nn.ModuleList([stage])
    model.set_vocabulary(CLASSES)
    return model, stage


@pytest.mark.parametrize(("settings", "wordless"), [({}, False), ({"wordless": ["my mug"], "weight": 0.3}, True)])
@torch.no_grad()
def test_probabilities_are_blended_as_the_formula_says(settings, wordless, build_segmentor, pictures, tmp_path):
    model, stage = built(build_segmentor, tmp_path, scale=20.0, **settings)
    model.prepare()
    (image,) = pictures(1, 40, 48)
    (picture,) = model.look([image], [_sample(image)])
    scores = model.backbone.tail.read(picture)
    found = stage(scores, picture).tiles.double().numpy()
    tiles, weight = scores.tiles.double().numpy(), settings.get("weight", 0.5)
    features = F.normalize(picture.patches, dim=1).double().numpy()
    keys = stage.memory.keys.double().numpy()
    for n, y, x in [(0, 0, 0), (1, 2, 3), (3, 1, 1)]:
        cosines = keys @ features[n, :, y, x]
        best = np.argsort(-cosines)[:4]
        p = np.zeros(3)
        for key in best:
            p[key % 3] += np.exp(cosines[key] / 0.2) / np.exp(cosines[best] / 0.2).sum()
        told = 20 * tiles[n, :, y, x]  # of dog, puppy, cat, my mug
        exponentials = np.exp(told) * [1, 1, 1, not wordless]
        words = exponentials / exponentials.sum()
        mug = p[0] if wordless else (1 - weight) * words[3] + weight * p[0]
        dogs = (1 - weight) * words[:2] + weight * p[1]
        np.testing.assert_allclose(found[n, :, y, x], [*dogs, words[2], mug], rtol=0, atol=1e-5)


def _sample(image):
    from mmseg.structures import SegDataSample

    return SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[1:])))


@torch.no_grad()
def test_what_does_not_go_together_is_refused(build_segmentor, pictures, tmp_path):
    model, stage = built(build_segmentor, tmp_path)
    (image,) = pictures(1, 40, 48)
    with pytest.raises(InputError, match="holds none of the classes; it holds My Mug, puppy, owl"):
        model.set_vocabulary(["sky", "grass"])
    model.labelling = model.labelling.__class__(model.labelling.sizes, 40.0)
    with pytest.raises(InputError, match="logit_scale=None"):
        model.predict([image])
    stage.memory.made["tower"] = "another"
    model.set_vocabulary(CLASSES)
    model.labelling = model.labelling.__class__(model.labelling.sizes, None)
    with pytest.raises(InputError, match="made with another backbone"):
        model.predict([image])
    with pytest.raises(InputError, match="'fox' is to be known without its words"):
        built(build_segmentor, tmp_path, wordless=["fox"])
