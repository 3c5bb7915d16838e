"""CorrCLIPv2: what differs from CorrCLIP, against float64: the whole picture's guide, and the support of a bank."""

import formulas_corrclip as plain
import formulas_guided as guided
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights, unit
from formulas_scclip import plain_states
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from stub_regions import StubRegions, rectangles
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.corrclip import spatial_blocks
from sclip_seg.regions.bank import RegionBank
from sclip_seg.regions.regions import VOID

SIZE, READ = (70, 101), (48, 70)


def tail(**options) -> dict:
    return dict(type="CorrCLIPv2", guide=dict(type=StubGuide), regions=dict(type=StubRegions), **options)


@pytest.fixture
def bank(tmp_path):
    """`bank(auxiliary, **made)`: path of a bank of sixty regions."""

    def make(auxiliary: bool = False, **made: str) -> str:
        generator = torch.Generator().manual_seed(2)
        keys, values, others = (torch.randn(60, width, generator=generator) for width in (6, 24, 24))
        RegionBank("mine", keys, values, others if auxiliary else None, made).write(tmp_path / "mine.safetensors")
        return str(tmp_path / "mine.safetensors")

    return make


@pytest.fixture(scope="module")
def build(build_segmentor):
    def make(**options):
        model = build_segmentor(backbone=dict(tail=tail(**options)), window=dict(crop=40, stride=24, batch=3))
        model.prepare()
        return model

    return make


def looked(model):
    sample = SegDataSample(metainfo=dict(ori_shape=SIZE))
    generator = torch.Generator().manual_seed(3)
    sample.set_data(dict(original=torch.randint(0, 256, (3, *SIZE), generator=generator).byte()))
    (picture,) = model.look([torch.randn(3, *READ, generator=generator)], [sample])
    return picture


def pixels_of(model, picture) -> np.ndarray:
    """The guide's features at each pixel of the network's input, of unit length, (C, h, w), float64."""
    rgb = torch.from_numpy(picture.pixels()).permute(2, 0, 1)[None].double().numpy() / 255
    near = guided.bilinear(rgb[0], tuple(round(side / 8) * 8 for side in SIZE))
    (whole,) = model.backbone.tail.guide(torch.from_numpy(near)[None].float()).double().numpy()
    wide = guided.bilinear(whole, READ)
    return wide / np.sqrt((wide**2).sum(0))


@torch.no_grad()
def test_the_guide_sees_the_whole_picture_once_and_is_cut_like_it(build):
    model = build()
    model.backbone.tail.guide.seen.clear()
    picture = looked(model)
    found = list(model.backbone.tail.guided(picture))
    assert model.backbone.tail.guide.seen == [(72, 104)]
    wide = pixels_of(model, picture)
    for features, (top, left, bottom, right) in zip(found, picture.plan.boxes(), strict=True):
        wanted = guided.bilinear(wide[:, top:bottom, left:right], (10, 10))
        np.testing.assert_allclose(features.numpy(), wanted, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("auxiliary", [False, True])
def test_scores_equal_the_formula(auxiliary, build, bank, tiny):
    second = dict(type="DenseCLIP", arch=tiny, pretrained=None, seed=5) if auxiliary else None
    model = build(bank=bank(auxiliary), neighbours=7, weight=0.3, auxiliary=second)
    picture, tower = looked(model), tower_weights(model.backbone.clip.visual)
    ids = plain.nearest(rectangles(*SIZE).numpy(), READ)
    wide, text = pixels_of(model, picture), model.text.features.double().numpy()
    tiles = []
    for index, (top, left, bottom, right) in enumerate(picture.plan.boxes()):
        states = plain_states(picture.gathered["states"][index, 0].double().numpy(), tower, (5, 5))
        guide = guided.bilinear(wide[:, top:bottom, left:right], (10, 10))
        own, blocks = ids[top:bottom, left:right], tuple(spatial_blocks(4))
        seen = plain.corrclip(states, tower, (5, 5), guide, own, blocks, merging=None)
        assert seen.margin > 1e-6
        tiles.append(np.einsum("dhw,qd->qhw", seen.features / np.sqrt((seen.features**2).sum(0)), text))
    dense = plain_chain.stitched(torch.from_numpy(np.stack(tiles)), READ, 40, 24, 8, "stretch", READ).numpy()
    numbers = np.unique(ids)
    queries = np.stack([wide[:, ids == number].mean(1) for number in numbers])
    held = model.backbone.tail.bank
    arrays = [part.double().numpy() for part in (held.keys, held.values)]
    support = plain.support(queries, *arrays, text, 7)
    if auxiliary:
        others = held.auxiliary.double().numpy(), model.text.second.double().numpy()
        support = (support + plain.support(queries, arrays[0], *others, 7)) / 2
        assert not np.allclose(model.text.second, model.text.features, atol=1e-2)
    painted = np.stack([support[list(numbers).index(number)] for number in ids.ravel()]).T.reshape(-1, *READ)
    wanted = guided.bilinear(0.7 * dense + 0.3 * painted, SIZE)
    np.testing.assert_allclose(model.score(picture).dense().numpy(), wanted, rtol=0, atol=1e-4)


@torch.no_grad()
def test_without_a_bank_it_is_the_dense_scores_and_of_weight_zero_too(build, bank):
    without, idle = build(), build(bank=bank(), weight=0.0)
    dense, same = (model.score(looked(model)).dense() for model in (without, idle))
    torch.testing.assert_close(same, dense, rtol=0, atol=1e-5)


def test_a_bank_of_another_guide_or_tower_is_refused(build, bank):
    with pytest.raises(InputError, match="made with another guide"):
        build(bank=bank(guide="0123"))
    with pytest.raises(InputError, match="auxiliary values, and there are none"):
        build(bank=bank(), auxiliary=dict(type="DenseCLIP", arch="tiny", pretrained=None))


def test_unit_means_of_what_all_is_one():
    """The features of a region of one pixel are the pixel's."""
    features = unit(np.random.default_rng(0).normal(size=(6, 4)))
    assert np.allclose(plain.support(features, features, features, features, 1).diagonal(), 1)
    assert VOID == plain.VOID
    assert F.normalize(Tensor([3.0, 4.0]), dim=0).tolist() == pytest.approx([0.6, 0.8])
