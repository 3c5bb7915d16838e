"""SCAN's trained parts on random weights: the head's queries ask a CLIP that sees the whole picture, in float64."""

from types import SimpleNamespace

import formulas_zsseg as plain
import numpy as np
import pytest
import torch
from named_regions import SIZE, Seen, close, stage
from safetensors.torch import load_file, save_file
from stub_proposals import StubProposals

from sclip_seg.evaluate.result import guides, parts
from sclip_seg.regions.integration import SemanticIntegration


@pytest.fixture
def head(tmp_path) -> str:
    path = tmp_path / "seen.safetensors"
    save_file({"void": torch.randn(24, generator=torch.Generator().manual_seed(5))}, path)
    return str(path)


@pytest.fixture
def integration(tmp_path) -> str:
    """Of tokens as wide as the tiny tower's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        made = SemanticIntegration(64, 24, layers=2, encoders=2, forward=20)
    state = {name: 0.3 * torch.randn_like(tensor) for name, tensor in made.state_dict().items()}
    save_file(state, tmp_path / "asks.safetensors")
    return str(tmp_path / "asks.safetensors")


def test_the_queries_of_a_head_ask_the_whole_picture(head, integration, build_segmentor):
    """Blocks 1 and 3 of four, patches before any norm, and the picture's own feature."""
    options = dict(head=head, integration=integration, asked=(3, 9), sigmas=(3.0, 1.5), tower=None, blocks=(1, 3))
    model = build_segmentor(stages=[stage("SCAN", StubProposals, **options)])
    seen, visual = Seen(model), model.backbone.clip.visual
    embeddings = seen.picture.proposals(model.stages[0].regions).embeddings
    found = model.stages[0].queries(embeddings, seen.picture)
    below, beside = (-side % 32 for side in SIZE)
    side, patch = visual.image_size[0], visual.conv1.kernel_size[0]
    image = plain.nearest(np.pad(seen.image, ((0, 0), (0, below), (0, beside))), side)
    states = plain.class_states(image, visual)
    patches = [states[d][1:].T.reshape(-1, side // patch, side // patch) for d in (0, 2)]
    overall = plain.unit(plain.joint(states[-1][:1], plain.tower_weights(visual)[-1]))[0]
    w = {name: tensor.double().numpy() for name, tensor in load_file(integration).items()}
    expected = plain.integrated(embeddings.double().numpy(), patches, (3.0, 1.5), overall, w)
    close(found, expected, 2e-4)
    assert "integration=asks#" in parts(SimpleNamespace(model=dict(stages=[dict(type="SCAN", **options)])), "stages")


def test_the_whole_picture_is_for_another_tower(build_segmentor):
    other = dict(arch="tiny", pretrained=None, seed=9)
    own, theirs = (
        Seen(build_segmentor(stages=[stage("SCAN", ratio=0.5, blocks=(1, 3), tower=None, **given)]))
        for given in ({}, dict(original=other))
    )
    assert not torch.equal(own.after, theirs.after)
    assert theirs.model.stages[0].second_tower.digest in dict(map(reversed, guides(theirs.model)))
    assert own.model.stages[0].second_tower is None
