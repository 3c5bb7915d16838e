"""RF-CLIP beside its float64 formula from the trunk's start, and the trunk that nobody else may edit."""

import dataclasses

import formulas_rfclip as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from protocols_stages import TEXT_SIDE, text_side
from runs import CONFIGS, cell
from tail_settings import tail_settings
from torch import Tensor

from sclip_seg.config import choices
from sclip_seg.errors import InputError
from sclip_seg.methods.rfclip import RFCLIP, TokenFilter, refocused, shares, sinks
from sclip_seg.registry import TAILS
from sclip_seg.towers.block import run_block
from sclip_seg.towers.encoder import DenseCLIP

SIZES = [(32, 32), (24, 40), (48, 16)]
CHANNELS = (3, 17, 40)
TAIL = dict(type="RFCLIP", channels=CHANNELS, sigma=1.7)
OPTIONS = [dict(), dict(sigma=None), dict(sigma=2.2), dict(similarity=0.6), dict(refocus=0.06), dict(channels=(5,))]


def reference(dense: DenseCLIP, image: Tensor, options: dict) -> list[plain.Seen]:
    """By the formula, from the trunk's start as the tower computes it."""
    settings = {key: value for key, value in (TAIL | options).items() if key != "type"}
    grid, tower = tuple(side // 8 for side in image.shape[2:]), tower_weights(dense.clip.visual)
    starts = dense.trace(image).states[-1].double().numpy()
    found = [plain.window(start, tower, grid, plain.Settings(**settings)) for start in starts]
    assert all(one.margin > 1e-5 for one in found)
    return found


def distance(features: Tensor, expected: Tensor) -> float:
    return (F.normalize(features.double(), dim=1) - F.normalize(expected.double(), dim=1)).abs().max().item()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_equal_the_formula(options, size, build_dense, pictures):
    dense, image = build_dense(TAIL | options), pictures(2, *size)
    found = reference(dense, image, options)
    features, trace = dense(image), dense.trace(image)
    expected = torch.from_numpy(np.stack([one.features for one in found]))
    assert features.shape == expected.shape
    assert distance(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)
    for block in range(4):
        states = np.stack([one.states[block + 1] for one in found])
        np.testing.assert_allclose(trace.hidden(block).double().numpy(), states, rtol=0, atol=1e-4)
    for number, (_, maps) in enumerate(dense.tail.readings(trace)):
        np.testing.assert_allclose(maps.double().numpy(), [one.weights[number] for one in found], rtol=0, atol=1e-5)


def test_some_are_flagged_and_others_not(build_dense, pictures):
    """Or the filter would not be seen."""
    for one in reference(build_dense(TAIL), pictures(2, 32, 48), {}):
        assert sum(0 < sum(block) < len(block) for block in one.flagged) >= 2


def test_options_move_features(build_dense, pictures):
    image = pictures(1, 32, 48)
    first, *others = (build_dense(TAIL | options)(image) for options in OPTIONS)
    assert all(distance(first, other) > 1e-3 for other in others)


def test_the_picture_feature_is_that_of_the_edited_trunk(build_dense, pictures):
    dense, image = build_dense(TAIL), pictures(2, 32, 48)
    expected = [one.states[-1][0] for one in reference(dense, image, {})]
    trace = dense.trace(image)
    tokens = torch.from_numpy(np.stack(expected)).float()
    torch.testing.assert_close(dense.summary(image), F.normalize(trace.joint(tokens), dim=1), rtol=0, atol=1e-5)
    plain_feature = build_dense().summary(image)
    assert (dense.summary(image) - plain_feature).abs().max() > 1e-3


def test_no_other_method_edits_the_trunk(build_dense, pictures):
    """Of all tails and of all configs; and what is unedited goes through the blocks as they are."""
    for name in TAILS.module_dict:
        dense = build_dense(tail_settings(name))
        assert (dense.edit is None) == (name != "RFCLIP"), name
    editing = [m for m in choices(CONFIGS)["method"] if cell(m).model.backbone.tail.type == "RFCLIP"]
    assert editing == ["rfclip"]
    image, dense = pictures(2, 32, 48), build_dense()
    trace = dense.trace(image, blocks=range(-5, 0))
    x = trace.states[-1]
    for index, block in enumerate(trace.blocks):
        x = run_block(block, x, trace.grid, trace.prefix)
        assert torch.equal(trace.hidden(index), x)


def test_an_edit_is_a_value():
    """So that passes through equal trunks may be shared, and others not."""
    one, other = TokenFilter((1, 2), 5.0, None), TokenFilter((1, 2), 5.0, None)
    assert one == other
    assert len({one, other, dataclasses.replace(one, sigma=4.0), dataclasses.replace(one, refocus=0.1)}) == 3


def test_channels_are_found_from_the_weights(build_dense):
    dense = build_dense()
    with torch.no_grad():
        dense.clip.visual.transformer.resblocks[1].mlp.c_proj.bias[[7, 30]] += 40
    found = sinks(dense.tower)
    assert {7, 30} <= {*found}
    assert len(found) == 8
    assert found == sinks(dense.tower)
    assert RFCLIP("found").edit(dense.tower).channels == found


def test_published_channels_are_of_their_towers(build_dense):
    assert build_dense(dict(type="RFCLIP")).edit == build_dense(dict(type="RFCLIP", channels="found")).edit
    wide = build_dense(dict(type="RFCLIP"), arch="ViT-B-32").edit  # as wide as ViT-B/16
    assert wide.channels == (4, 162, 189, 326, 429, 474, 633, 713)
    for backbone in ("openai_vit_b16", "openai_vit_l14"):
        assert cell("rfclip", "voc21", backbone).model.backbone.tail.channels == "published"
    for backbone in ("laion2b_vit_b16", "openai_vit_l14_336", "toy"):
        assert cell("rfclip", "toy", backbone).model.backbone.tail.channels == "found"


@pytest.mark.parametrize("channels", [(1, 64), ()], ids=str)
def test_channels_that_the_tower_has_not_are_refused(channels, build_dense):
    with pytest.raises(InputError, match="the tower has channels 0 to 63"):
        build_dense(dict(type="RFCLIP", channels=channels))


def test_refocused_rows_keep_their_sum():
    weights = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0)).mul(2).softmax(-1)
    found = refocused(weights, 0.12)
    assert (found - weights).abs().max() > 1e-2
    torch.testing.assert_close(found.sum(-1), weights.sum(-1))
    assert torch.equal(found[:, :, 0], weights[:, :, 0])
    assert torch.equal(found[..., 0], weights[..., 0])
    for window, heads in enumerate(weights.double().numpy()):
        for head, own in enumerate(heads):
            expected, _ = plain.refocused(own, 0.12)
            np.testing.assert_allclose(found[window, head].numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(refocused(weights, 1.0), weights)
    assert refocused(weights, 0.0).isfinite().all()  # sinks alone


def test_batch_of_two_equals_two_of_one(build_dense, pictures):
    dense, image = build_dense(TAIL), pictures(2, 24, 40)
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_blank_picture_is_finite(colour, build_dense):
    features = build_dense(TAIL)(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0
    assert shares(torch.ones(3, 5)).isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("options", [dict(sigma=None, similarity=-1.0), dict(sigma=0.1, similarity=-1.0)], ids=str)
def test_lower_precision_is_near(options, precision, build_dense, pictures):
    """Where all are flagged or none, and rounding decides nothing."""
    image = pictures(2, 32, 48)
    exact, rounded = build_dense(TAIL | options), build_dense(TAIL | options)
    rounded.set_precision(precision)
    features = rounded(image)
    assert features.dtype == rounded.dtype
    assert F.cosine_similarity(features.float(), exact(image), dim=1).min() > 0.98
    usual = build_dense(TAIL | dict(refocus=0.06))
    usual.set_precision(precision)
    assert usual(image).isfinite().all()


@pytest.mark.parametrize("dataset", TEXT_SIDE)
def test_the_text_side_of_the_benchmarks(dataset):
    assert cell("rfclip", dataset).model.to_dict()["stages"] == text_side(dataset, "complete")
