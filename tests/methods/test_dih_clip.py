"""DIH-CLIP: its features against the float64 formula, who is selected by hand, and the spec's assertions."""

from dataclasses import replace
from functools import partial

import calibrated
import formulas_dih as formulas
import pytest
import torch
import torch.nn.functional as F
from calibrated import far

from sclip_seg.errors import InputError
from sclip_seg.methods.dih_clip import entropies, selected, trained

SIZES = [(32, 32), (24, 40), (48, 16), (56, 48)]
TINY = formulas.Settings(mid=3, post=1, fused=(1, 2, 3))  # blocks 9, 4 and 4 to 10 of 12, in a tower of 4
LARGE = dict(mid=17, post=7, fused=tuple(range(9, 20)), tower=24, class_weight=0.1)  # in comments, for ViT-L/14
OPTIONS = [
    (LARGE, dict(mid=3, post=1, fused=(2, 3), class_weight=0.1)),
    (dict(mid=1, post=3, fused=(1, 3), tower=None), dict(mid=1, post=3, fused=(1, 3))),
    *((option, option) for option in (dict(heads=1), dict(heads=2), dict(heads=3))),
    *((option, option) for option in (dict(beta=0.1), dict(beta=1.5), dict(sharpness=1.0), dict(class_weight=0.0))),
]


windows, reference = (
    partial(by_formula, formulas.window, TINY) for by_formula in (calibrated.windows, calibrated.reference)
)


@pytest.mark.parametrize("heads", [2, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_equal_the_formula(size, heads, build_dense, pictures):
    dense, image = build_dense(dict(type="DIHCLIP", heads=heads)), pictures(2, *size)
    features, expected = dense(image), reference(dense, image, heads=heads)
    assert features.shape == expected.shape
    assert far(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)
    assert far(features, build_dense(dict(type="SCCLIP", neighbours=4))(image)) > 1e-2


@pytest.mark.parametrize(("tail", "changes"), OPTIONS, ids=str)
def test_options_equal_the_formula(tail, changes, build_dense, pictures):
    dense, image = build_dense(dict(type="DIHCLIP") | tail), pictures(2, 56, 48)
    features = dense(image)
    assert far(features, reference(dense, image, **changes)) < 1e-4
    assert far(features, build_dense(dict(type="DIHCLIP"))(image)) > 1e-3


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_entropies_and_joined_maps_are_those_of_the_formula(size, build_dense, pictures):
    """Of the middle block and of both passes, each of which selects heads of its own."""
    dense, image = build_dense(dict(type="DIHCLIP", heads=2)), pictures(2, *size)
    trace, tail = dense.trace(image), dense.tail
    _, similar, passes = tail.passes(trace)
    maps = [tail.maps(tail.projections(trace, patches), similar) for patches, _ in passes]
    found = torch.stack([entropies(one) for one in (trained(trace.qkv(2)), *maps)], 1)
    for number, expected in enumerate(windows(dense, image, heads=2)):
        torch.testing.assert_close(found[number].double(), torch.from_numpy(expected.entropy), rtol=1e-5, atol=0)
        for (patches, _), joined in zip(passes, expected.joined, strict=True):
            ours = tail.weights(tail.projections(trace, patches), similar).weights()[number, 0]
            torch.testing.assert_close(ours.double(), torch.from_numpy(joined), rtol=0, atol=1e-5)
            torch.testing.assert_close(ours.sum(1), torch.full(ours.shape[:1], 2 / 4), rtol=0, atol=1e-5)


def test_who_is_selected_by_hand():
    entropy = torch.tensor([[5.0, 1.0, 3.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert selected(entropy, 2).tolist() == [[False, True, False, False, True], [True, True, False, False, False]]
    assert selected(entropy, 3).sum(1).tolist() == [4, 3]  # equal to the last
    assert selected(entropy, 9).all()
    assert formulas.selected(entropy[0].numpy(), 3) == [1, 2, 3, 4]


def test_entropy_by_hand():
    """Four equal entries a row are two bits, one entry is none; rows are summed, not averaged."""
    flat, sharp = torch.full((4, 4), 0.25), torch.eye(4)
    torch.testing.assert_close(
        entropies(torch.stack([flat, sharp])[None]), torch.tensor([[8.0, 0.0]]), rtol=0, atol=1e-4
    )


def test_the_block_before_the_middle_one_is_read(build_dense, pictures):
    assert {1, 2} <= {4 + block for block in build_dense(dict(type="DIHCLIP")).tail.reads(4)}
    first = build_dense(dict(type="DIHCLIP", mid=1, post=1, fused=(1,), tower=None))
    assert -5 in first.tail.reads(4)
    assert first(pictures(1, 32, 32)).isfinite().all()


@pytest.mark.parametrize("heads", [1, 4])
def test_batch_of_two_equals_two_of_one(heads, build_dense, pictures):
    """Heads are the window's own; the second window's contrast is a tenth of the first's."""
    dense = build_dense(dict(type="DIHCLIP", heads=heads))
    image = pictures(2, 56, 48) * torch.tensor([1.0, 0.1])[:, None, None, None]
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    assert far(dense(image), apart) < 1e-5
    assert far(apart[:1], apart[1:]) > 1e-2


@pytest.mark.parametrize("colour", [0.0, 2.0])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_blank_picture_is_finite(precision, colour, build_dense):
    dense = build_dense(dict(type="DIHCLIP", heads=2))
    dense.set_precision(precision)
    features = dense(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


def test_equal_patches_and_a_single_one_are_finite(build_dense, pictures):
    dense = build_dense(dict(type="DIHCLIP", heads=2))
    trace = dense.trace(pictures(1, 32, 32))
    states = {block: x[:, [0] + [3] * 35] for block, x in trace.states.items()}
    assert dense.tail(replace(trace, states=states, grid=(5, 7)), None).isfinite().all()
    assert dense(pictures(2, 8, 8)).isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_are_near_fp32(precision, build_dense, pictures):
    dense, image = build_dense(dict(type="DIHCLIP")), pictures(2, 56, 48)
    exact = dense(image)
    dense.set_precision(precision)
    features = dense(image)
    assert features.isfinite().all()
    assert F.cosine_similarity(features.float(), exact, dim=1).min() > 0.98


@pytest.mark.parametrize(
    ("options", "named"),
    [(dict(heads=0), "heads"), (dict(mid=9, tower=None), "tower has 4")],
    ids=str,
)
def test_what_it_cannot_do_is_refused(options, named, build_dense, pictures):
    with pytest.raises(InputError, match=named):
        build_dense(dict(type="DIHCLIP") | options)(pictures(1, 32, 32))
