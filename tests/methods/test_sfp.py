"""SFP: its features against the float64 formula, its detector and repair by hand, and the spec's assertions."""

from dataclasses import replace
from functools import partial

import calibrated
import formulas_sfp as formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calibrated import far

from sclip_seg.errors import InputError
from sclip_seg.methods import scclip
from sclip_seg.methods.sfp import class_and_own, most_looked_at

SIZES = [(32, 32), (24, 40), (48, 16), (56, 48)]
DETECTORS = ["attention", "norm", "released", "lof"]
TINY = formulas.Settings(mid=3, post=1, fused=(1, 2, 3))  # blocks 9, 4 and 4 to 10 of 12, in a tower of 4
OPTIONS = [
    (dict(mid=2, post=3, fused=(1, 3), tower=None), dict(mid=2, post=3, fused=(1, 3))),
    *((option, option) for option in (dict(detector="norm"), dict(detector="released"), dict(detector="lof"))),
    *((option, option) for option in (dict(factor=0.5), dict(factor=0.0), dict(factor=40.0))),
    *((option, option) for option in (dict(beta=0.1), dict(beta=1.5), dict(sharpness=1.0), dict(class_weight=0.0))),
]


windows, reference = (
    partial(by_formula, formulas.window, TINY) for by_formula in (calibrated.windows, calibrated.reference)
)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_equal_the_formula(size, build_dense, pictures):
    """Of windows square, wide and tall; where the released code fails, or repairs other patches."""
    dense, image = build_dense(dict(type="SFP")), pictures(2, *size)
    features, expected = dense(image), reference(dense, image)
    assert features.shape == expected.shape
    assert far(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)
    assert far(features, build_dense(dict(type="SCCLIP", neighbours=4))(image)) > 1e-2


@pytest.mark.parametrize(("tail", "changes"), OPTIONS, ids=str)
def test_options_equal_the_formula(tail, changes, build_dense, pictures):
    dense, image = build_dense(dict(type="SFP") | tail), pictures(2, 56, 48)
    features = dense(image)
    assert far(features, reference(dense, image, **changes)) < 1e-4
    assert far(features, build_dense(dict(type="SFP"))(image)) > 1e-4


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_outliers_are_those_of_the_formula(size, factor, build_dense, pictures):
    dense, image = build_dense(dict(type="SFP", factor=factor)), pictures(2, *size)
    found = dense.tail.anomalous(dense.trace(image))
    expected = np.stack([window.outlier for window in windows(dense, image, factor=factor)])
    assert found.dtype == torch.bool
    assert found.tolist() == expected.tolist()
    assert 0 < found.sum() < found.numel()


def test_outliers_are_seen_in_the_block_before_the_last(build_dense, pictures):
    dense = build_dense(dict(type="SFP"))
    trace = dense.trace(pictures(2, 40, 56))
    weights = dense.attention_maps(pictures(2, 40, 56), None, -2).weights.mean(1)
    by_class, own = class_and_own(trace.qkv(-2))
    torch.testing.assert_close(by_class, weights[:, 0, 1:])
    torch.testing.assert_close(own, weights.diagonal(dim1=1, dim2=2)[:, 1:])
    assert {-2, -3} <= {*dense.tail.reads(4)}
    assert -3 not in build_dense(dict(type="SFP", mid=4, post=1, fused=(1, 4), tower=4, detector="norm")).tail.reads(4)


def test_the_ten_most_looked_at_by_hand():
    """Fourteen candidates of twenty: the ten largest, of those that are looked at more than they look themselves."""
    by_class, own = torch.arange(20.0)[None].repeat(2, 1), torch.full((2, 20), 8.5)
    own[0, 19] = 99.0  # the largest, and no candidate
    found = most_looked_at(by_class, own, 1.5)
    assert found[0].nonzero().flatten().tolist() == [*range(9, 19)]
    assert found[1].nonzero().flatten().tolist() == [*range(10, 20)]
    assert most_looked_at(by_class, own, 0.5)[1].nonzero().flatten().tolist() == [18, 19]
    assert not most_looked_at(by_class, own, 0.0).any()
    assert not most_looked_at(torch.zeros(1, 4), torch.zeros(1, 4), 1.5).any()  # more, not as much
    assert most_looked_at(torch.ones(1, 4), torch.zeros(1, 4), 1.5).all()


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (5, 3), (1, 7), (7, 1), (14, 21)], ids=str)
def test_repair_equals_the_formula(grid, share):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, grid[0] * grid[1], 8, generator=generator)
    outlier = torch.rand(x.shape[:2], generator=generator) < share
    mended = scclip.repair(x, outlier, grid, "zero")
    for window in range(2):
        expected = formulas.repair(x[window].double().numpy(), outlier[window].numpy(), grid)
        np.testing.assert_allclose(mended[window].numpy(), expected, rtol=0, atol=1e-5)
    assert torch.equal(mended[~outlier], x[~outlier])
    assert share < 1 or not mended.any()


def test_an_outlier_among_outliers_is_zero():
    x, outlier = torch.randn(1, 35, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 7, dtype=torch.bool)
    outlier[1:4, 2:5] = True
    mended = scclip.repair(x, outlier.view(1, 35), (5, 7), "zero").view(5, 7, 8)
    kept = scclip.repair(x, outlier.view(1, 35), (5, 7)).view(5, 7, 8)
    assert not mended[2, 3].any()
    assert torch.equal(kept[2, 3], x.view(5, 7, 8)[2, 3])
    kept[2, 3] = 0
    assert torch.equal(mended, kept)


def test_small_similarities_are_gone_before_the_softmax(build_dense, pictures):
    """And both passes look differently: at the patches of each, and by M alone."""
    dense, image = build_dense(dict(type="SFP")), pictures(2, 56, 48)
    trace = dense.trace(image)
    similar, _ = dense.tail.middle(trace)
    spread, _, ((calm, _), (total, _)) = dense.tail.passes(trace)
    assert ((similar == 0) | (similar >= 0.4)).all()
    assert (similar == 0).any()
    first = dense.tail.weights(dense.tail.projections(trace, calm), similar).weights()
    second = dense.tail.weights_of_sum(dense.tail.projections(trace, total), similar).weights()
    for number, expected in enumerate(windows(dense, image)):
        for found, wanted in zip((first, second), expected.weights, strict=True):
            heads = found[number].expand(wanted.shape).double()
            torch.testing.assert_close(heads, torch.from_numpy(wanted), rtol=0, atol=1e-5)
        torch.testing.assert_close(spread[number].double(), torch.from_numpy(expected.spread), rtol=0, atol=1e-5)
    assert (first - second).abs().max() > 1e-2


@pytest.mark.parametrize("detector", DETECTORS)
def test_batch_of_two_equals_two_of_one(detector, build_dense, pictures):
    """Outliers and mean M are the window's own; the second window's contrast is a tenth of the first's."""
    dense = build_dense(dict(type="SFP", detector=detector))
    image = pictures(2, 56, 48) * torch.tensor([1.0, 0.1])[:, None, None, None]
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    assert far(dense(image), apart) < 1e-5
    assert far(apart[:1], apart[1:]) > 1e-2


@pytest.mark.parametrize("colour", [0.0, 2.0])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_blank_picture_is_finite(precision, detector, colour, build_dense):
    dense = build_dense(dict(type="SFP", detector=detector))
    dense.set_precision(precision)
    features = dense(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


def test_equal_patches_and_a_single_one_are_finite(build_dense, pictures):
    dense = build_dense(dict(type="SFP"))
    trace = dense.trace(pictures(1, 32, 32))
    states = {block: x[:, [0] + [3] * 35] for block, x in trace.states.items()}
    assert dense.tail(replace(trace, states=states, grid=(5, 7)), None).isfinite().all()
    assert dense(pictures(2, 8, 8)).isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("detector", DETECTORS)
def test_half_precisions_are_near_fp32(detector, precision, build_dense, pictures):
    dense, image = build_dense(dict(type="SFP", detector=detector)), pictures(2, 56, 48)
    exact = dense(image)
    dense.set_precision(precision)
    features = dense(image)
    assert features.isfinite().all()
    assert F.cosine_similarity(features.float(), exact, dim=1).median() > 0.98  # single patches may be repaired or not


@pytest.mark.parametrize(
    ("options", "named"),
    [(dict(detector="som"), "'som'"), (dict(factor=-1.0), "-1.0"), (dict(mid=9, tower=None), "tower has 4")],
    ids=str,
)
def test_what_it_cannot_do_is_refused(options, named, build_dense, pictures):
    with pytest.raises(InputError, match=named):
        build_dense(dict(type="SFP") | options)(pictures(1, 32, 32))
