"""CorrCLIP against its float64 formula, in windows and in pictures, and what becomes of odd regions."""

import formulas_corrclip as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from formulas_scclip import plain_states
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from stub_regions import StubRegions, rectangles
from surfaces import MEAN, STD
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.corrclip import merge_regions, spatial_blocks, unit_rows
from sclip_seg.regions.regions import VOID, Regions
from sclip_seg.towers.encoder import DenseCLIP

RISK = 1e-6  # of cosines in fp32, within which rounding decides
CASES = [(8, (32, 32), 0), (4, (24, 40), 1), (4, (48, 32), 4), (16, (48, 64), 5)]


def tail(unit: int = 8, regions: dict | None = None, lean: float = 0.6, **options) -> dict:
    guide = dict(type=StubGuide, unit=unit, lean=lean)
    return dict(type="CorrCLIP", guide=guide, regions=dict(type=StubRegions, **(regions or {})), **options)


def expected(dense: DenseCLIP, image: Tensor, ids: Tensor, **options) -> plain.Window:
    """Of one window (1, 3, H, W)."""
    tower, grid = tower_weights(dense.clip.visual), tuple(side // 8 for side in image.shape[2:])
    trace = dense.trace(image)
    states = plain_states(trace.states[-1][0].double().numpy(), tower, grid)
    guide = dense.tail.guide(image * STD + MEAN)[0].double().numpy()
    return plain.corrclip(states, tower, grid, guide, ids.numpy(), tuple(spatial_blocks(len(tower))), **options)


def ours(dense: DenseCLIP, image: Tensor, ids: Tensor):
    """The window's features (D, H', W'), and what lies inside."""
    trace = dense.trace(image)
    kept = dense.tail.gather(trace, None)
    window = kept["states"][0], kept["guide"][0], trace.grid, ids.long()
    return dense.tail.scoped(trace, *window), dense.tail.look(trace, *window)


def assert_same(dense: DenseCLIP, image: Tensor, ids: Tensor, **options) -> plain.Window:
    wanted, (features, seen) = expected(dense, image, ids, **options), ours(dense, image, ids)
    assert wanted.margin > RISK
    np.testing.assert_allclose(seen.attention.numpy(), wanted.attention, rtol=0, atol=1e-5)
    pairs = {*zip(seen.merged.flatten().tolist(), wanted.merged.ravel().tolist(), strict=True)}
    assert len(pairs) == len(np.unique(wanted.merged)) == len(seen.merged.unique())
    np.testing.assert_allclose(features.numpy(), wanted.features, rtol=0, atol=1e-4)
    return wanted


@pytest.mark.parametrize("rule", ["smallest", "explicit"])
@pytest.mark.parametrize("void", [True, False])
@pytest.mark.parametrize(("unit", "size", "seed"), CASES, ids=str)
def test_features_equal_the_formula(unit, size, seed, void, rule, build_dense, pictures):
    dense, image = build_dense(tail(unit, void=rule)), pictures(1, *size, seed=seed)
    assert_same(dense, image, rectangles(*size, seed=seed, void=void), void=rule)


@pytest.mark.parametrize("options", [dict(sharpness=2.0), dict(merge=None), dict(merge=0.6)], ids=str)
def test_options_equal_the_formula(options, build_dense, pictures):
    dense, image, ids = build_dense(tail(4, **options)), pictures(1, 24, 40, seed=1), rectangles(24, 40, seed=1)
    named = {{"merge": "merging"}.get(key, key): value for key, value in options.items()}
    assert_same(dense, image, ids, **named)
    plainly = ours(build_dense(tail(4)), image, ids)[0]
    assert (F.normalize(ours(dense, image, ids)[0], dim=0) - F.normalize(plainly, dim=0)).abs().max() > 1e-3


@pytest.mark.parametrize("rule", ["smallest", "explicit"])
@pytest.mark.parametrize("ids", [torch.full((24, 40), VOID), torch.zeros(24, 40), torch.arange(960).view(24, 40)])
def test_no_region_one_and_one_a_pixel(ids, rule, build_dense, pictures):
    dense, image = build_dense(tail(4, void=rule)), pictures(1, 24, 40, seed=1)
    assert_same(dense, image, ids.int(), void=rule)


def test_regions_are_joined_in_chains_and_void_is_not():
    angles = torch.tensor([0.0, 0.5, 1.0, 3.0, 0.2])  # cosines with the next: 0.88, 0.88, and far
    unit, ids = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([[1, 2, 3, 7, 0]])
    assert merge_regions(ids, unit, 0.2, 0).tolist() == [[8, 8, 8, 9, 0]]
    assert merge_regions(ids, unit, 0.05, 0).tolist() == [[8, 9, 10, 11, 0]]
    assert merge_regions(ids, unit, 0.2, VOID).tolist() == [[8, 8, 8, 9, 8]]
    two = torch.tensor([[1, 1, 1, 1, 0]])
    assert torch.equal(merge_regions(two, unit, 0.2, 0), two)


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(12, (6, 10)), (24, (11, 22)), (32, (3, 30)), (5, (3, 3)), (16, (3, 14)), (4, (2, 2)), (1, (0, 0))],
)
def test_blocks_of_the_spatial_stream(depth, blocks):
    found = spatial_blocks(depth)
    assert (found[0], found[-1]) == blocks
    assert found[-1] < depth


def seen_by(model, images: list[Tensor], sizes=None, first: int = 0) -> list:
    """Pictures after the trunk, their originals drawn from seeds."""
    sizes, samples = sizes or [tuple(image.shape[1:]) for image in images], []
    for seed, size in enumerate(sizes, first):
        generator = torch.Generator().manual_seed(seed)
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        sample.set_data(dict(original=torch.randint(0, 256, (3, *size), generator=generator).byte()))
        samples.append(sample)
    return list(model.look(images, samples))


@pytest.fixture(scope="module")
def build(build_segmentor):
    def make(tail_settings: dict, **settings):
        window = dict(crop=40, stride=24, padding="symmetric", batch=3)
        model = build_segmentor(backbone=dict(tail=tail_settings), window=window, **settings)
        model.prepare()
        return model

    return make


@torch.no_grad()
def test_batch_of_two_pictures_against_one_by_one(build):
    model = build(tail(), refine=["RegionVote"])
    sizes, generator = [(48, 56), (48, 56), (40, 64)], torch.Generator().manual_seed(1)
    images = [torch.randn(3, *size, generator=generator) for size in sizes]
    for index, picture in enumerate(seen_by(model, images)):
        (alone,) = seen_by(model, [images[index]], first=index)
        maps, single = model.score(picture), model.score(alone)
        torch.testing.assert_close(single.dense(), maps.dense(), rtol=0, atol=1e-5)
        assert torch.equal(model.label(maps, picture), model.label(single, alone))


@torch.no_grad()
def test_windows_get_their_cut_of_the_map_and_the_rim_is_a_region(build):
    model = build(tail(16))  # a guide's patch that pads windows of 40 pixels to 48
    (picture,) = seen_by(model, [torch.randn(3, 44, 60)], [(88, 120)])
    cut = picture.regions_of_windows(model.backbone.tail.regions)
    small = plain.nearest(rectangles(88, 120).numpy(), (44, 60))
    assert cut.shape[1:] == (48, 48)
    for window, (top, left, bottom, right) in zip(cut, picture.plan.boxes(), strict=True):
        before = (48 - (bottom - top)) // 2
        inner = window[before : before + bottom - top, before : before + right - left]
        assert np.array_equal(inner.numpy(), small[top:bottom, left:right])
        assert (window == cut.max()).sum() == 48 * 48 - inner.numel()


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 5000])
def test_as_many_regions_as_there_may_be(count, build):
    model = build(tail(4), refine=["RegionVote"])
    (picture,) = seen_by(model, [torch.randn(3, 80, 80)])
    ids = (torch.arange(6400) % count).view(80, 80)
    model.backbone.tail.regions.find = lambda picture, name: Regions(ids.int())
    maps = model.score(picture)
    assert maps.dense().isfinite().all()
    labels = model.label(maps, picture)
    assert max(len(labels[ids == number].unique()) for number in range(0, count, 97)) == 1


@torch.no_grad()
def test_regions_of_another_size_are_refused(build):
    model = build(tail(regions=dict(off=1)))
    (picture,) = seen_by(model, [torch.randn(3, 40, 48)])
    with pytest.raises(InputError, match=r"regions of StubRegions are 41 x 48 .* the picture is 40 x 48"):
        model.score(picture)


@torch.no_grad()
def test_the_vote_takes_the_regions_that_the_method_looked_at(build):
    model = build(tail(), refine=["RegionVote"])
    (picture,) = seen_by(model, [torch.randn(3, 40, 48)])
    maps = model.score(picture)
    before, after = model.labelling.labels(maps), model.label(maps, picture)
    ids = rectangles(40, 48).numpy()
    assert np.array_equal(after.numpy(), plain.vote(before.numpy(), ids, VOID))
    assert model.backbone.tail.regions.asked == 1


@torch.no_grad()
def test_a_row_across_windows_is_that_of_its_own(build):
    model = build(tail())
    (picture,) = seen_by(model, [torch.randn(3, 48, 80)])
    row = model.backbone.tail.attention_across(picture, 20.0, 70.0)
    assert row.shape == (len(picture.plan), 1, 5, 5)
    index = picture.plan.boxes().index(picture.plan.around(20.0, 70.0))
    assert row[index].sum() == pytest.approx(1, abs=1e-5)
    assert row.sum() == pytest.approx(1, abs=1e-5)
    _, guide, _, ids = list(model.backbone.tail.windows(picture))[index]
    _, attention = model.backbone.tail.scope(unit_rows(guide), torch.from_numpy(plain.nearest(ids.numpy(), (5, 5))))
    assert row[index].flatten().tolist() in attention.tolist()


def test_without_regions_all_is_void(build_dense, pictures):
    dense, image = build_dense(tail(4)), pictures(2, 24, 40, seed=1)
    for features, own in zip(dense(image), image, strict=True):
        wanted = expected(dense, own[None], torch.full((24, 40), VOID))
        np.testing.assert_allclose(features.numpy(), wanted.features, rtol=0, atol=1e-4)
