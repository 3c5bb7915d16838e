"""FSA against its float64 formula, over ProxyCLIP's attention and over others."""

import formulas
import formulas_fsa as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import LastBlockWeights
from runs import cell
from scored import maps_of
from stub_guide import StubGuide
from surfaces import MEAN, STD
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.fsa import feedback, isolated, kept, likeness, predictions
from sclip_seg.towers.attention import given, softmax
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank

SIZES = {8: [(32, 32), (24, 40), (48, 16)], 4: [(24, 24), (24, 40)], 16: [(48, 64), (80, 32)]}
CASES = [(unit, size) for unit, sizes in SIZES.items() for size in sizes]
RISK = 5e-7  # of the cut in fp32, within which rounding decides


def tail(unit: int = 8, lean: float = 0.6, **options) -> dict:
    return dict(type="FSA", guide=dict(type=StubGuide, unit=unit, lean=lean), **options)


def over(attention: str | dict, **options) -> dict:
    return dict(type="FSA", attention=attention, **options)


@pytest.fixture(scope="module")
def text() -> TextBank:
    """Nine random queries of five classes, short: of predictions that are sure, rounding decides which are likest."""
    features = 0.4 * F.normalize(torch.randn(9, 24, generator=torch.Generator().manual_seed(5)), dim=1)
    return TextBank(features, torch.tensor([0, 0, 1, 2, 2, 3, 4, 4, 4]), 5)


def outcomes(dense: DenseCLIP, image: Tensor, text: TextBank, **options) -> list[plain.Outcome]:
    """Of every window, over the guide of the tail."""
    w, grid = LastBlockWeights.of(dense.clip.visual), tuple(side // 8 for side in image.shape[2:])
    guides = dense.tail.guide(image * STD + MEAN).double().numpy()
    states, words = dense.trace(image).before(-1).double().numpy(), text.features.double().numpy()
    return [plain.on_proxyclip(x, w, grid, g, words, **options) for x, g in zip(states, guides, strict=True)]


def assert_equal(dense: DenseCLIP, image: Tensor, text: TextBank, expected: list[plain.Outcome]) -> None:
    """Features, lengths and what is shown; no row of which rounding decides what is kept."""
    assert min(one.margin for one in expected) > RISK
    features, shown = dense(image, text).double(), dense.attention_maps(image, text).weights.double()
    wanted = torch.from_numpy(np.stack([one.features for one in expected]))
    assert features.shape == wanted.shape
    assert distance(features, wanted) < 1e-4
    torch.testing.assert_close(features.norm(dim=1), wanted.norm(dim=1), rtol=1e-4, atol=0)
    np.testing.assert_allclose(shown.numpy(), np.stack([one.attention for one in expected]), rtol=0, atol=1e-4)


def distance(features: Tensor, others: Tensor) -> float:
    return float((F.normalize(features.double(), dim=1) - F.normalize(others.double(), dim=1)).abs().max())


@pytest.mark.parametrize(("unit", "size"), CASES, ids=str)
def test_features_equal_the_formula(unit, size, build_dense, pictures, text):
    dense, image = build_dense(tail(unit)), pictures(2, *size, seed=1)
    expected = outcomes(dense, image, text)
    assert_equal(dense, image, text, expected)
    # Cuts are seen to cut, and the second pass to be one.
    assert all(0 < count < len(one.kept) for one in expected for count in one.kept)
    proxy = build_dense(dict(type="ProxyCLIP", guide=dict(type=StubGuide, unit=unit)))
    assert distance(dense(image, text), proxy(image)) > 1e-2


@pytest.mark.parametrize("options", [dict(sharpness=4.5), dict(sharpness=0.5), dict(beta=1.0, gamma=2.0)], ids=str)
def test_options_equal_the_formula(options, build_dense, pictures, text):
    dense, image = build_dense(tail(**options)), pictures(2, 24, 40, seed=1)
    assert_equal(dense, image, text, outcomes(dense, image, text, **options))
    assert distance(dense(image, text), build_dense(tail())(image, text)) > 1e-4


@pytest.mark.parametrize("block", [dict(), dict(residual=True, mlp=True)], ids=["reduced", "whole"])
@pytest.mark.parametrize("name", ["qk", "qq", "csa", "nonly", "identity"])
def test_other_attentions_equal_the_formula(name, block, build_dense, pictures, text):
    dense, image = build_dense(over(name, **block)), pictures(2, 24, 40, seed=1)
    w, switches = LastBlockWeights.of(dense.clip.visual), dict(residual=False, mlp=False) | block
    states, words = dense.trace(image).before(-1).double().numpy(), text.features.double().numpy()
    attention = formulas.ATTENTION_FORMULAS[name]
    expected = [plain.on_attention(x, w, (3, 5), attention, words, **switches) for x in states]
    if name == "nonly":  # one map for all heads is shown once
        expected = [plain.Outcome(one.attention[:1], *list(vars(one).values())[1:]) for one in expected]
    assert_equal(dense, image, text, expected)


def test_predictions_and_what_is_kept_equal_the_formula(build_dense, pictures, text):
    dense, image = build_dense(tail(4)), pictures(2, 24, 40, seed=1)
    p = isolated(*predictions(dense.tail.base(dense.trace(image)), text.features))
    for window, expected in zip(p, outcomes(dense, image, text), strict=True):
        np.testing.assert_allclose(window.numpy(), expected.p, rtol=0, atol=1e-4)
        similar = likeness(window)
        np.testing.assert_allclose(similar.numpy(), expected.similarity, rtol=0, atol=1e-4)
        assert kept(similar).sum(1).tolist() == expected.kept


@pytest.mark.parametrize("queries", [2, 9, 40])
def test_the_likeness_is_one_with_itself_and_not_mutual(queries):
    p = (5 * torch.randn(30, queries, generator=torch.Generator().manual_seed(1))).softmax(1)
    similar = likeness(p)
    torch.testing.assert_close(similar.diagonal(), torch.ones(30))
    assert (similar - similar.T).abs().max() > 1e-3
    expected, margin, counts, s = plain.fed_back(p.double().numpy(), 3.0)
    np.testing.assert_allclose(similar.numpy(), s, rtol=0, atol=1e-5)
    assert margin > RISK
    np.testing.assert_allclose(feedback(similar, 3.0).numpy(), expected, rtol=0, atol=1e-4)
    assert kept(similar).sum(1).tolist() == counts


def test_one_patch_and_patches_all_alike():
    """The first of a row stays whatever it weighs."""
    assert kept(torch.ones(1, 1)).tolist() == [[True]]
    assert kept(torch.ones(2, 2)).sum(1).tolist() == [1, 1]
    assert kept(torch.ones(40, 40)).sum(1).tolist() == [18] * 40 or kept(torch.ones(40, 40)).sum(1)[0] == 17
    certain = torch.eye(3)[[0, 1, 2, 0]]
    assert feedback(likeness(certain), 3.0).isfinite().all()


def test_products_of_attentions(build_dense, pictures):
    """`A @ B` is multiplied without being stored, and is what its weights say."""
    t = build_dense().trace(pictures(2, 24, 40)).qkv(-1)
    one = given(torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    for product in (one @ softmax(t.q, t.k, t.scale), softmax(t.q, t.k, t.scale) @ one, one @ one):
        both = (product + 2 * one) / 3
        torch.testing.assert_close(both @ t.v, both.weights() @ t.v, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [tail(4), tail(16), over("qq"), over("csa", residual=True, mlp=True)], ids=str)
def test_batch_of_two_equals_two_of_one(settings, build_dense, pictures, text):
    dense, image = build_dense(settings), pictures(2, 48, 80, seed=1)
    apart = torch.cat([dense(image[:1], text), dense(image[1:], text)])
    torch.testing.assert_close(dense(image, text), apart, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("settings", [tail(4), tail(16, lean=0.0), over("kk")], ids=str)
def test_blank_picture_is_finite(settings, colour, build_dense, text):
    image = ((colour - MEAN) / STD).expand(1, 3, 32, 48).contiguous()
    features = build_dense(settings)(image, text)
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("settings", [tail(4), over("qk")], ids=str)
def test_lower_precision_is_near(settings, precision, build_dense, pictures, text):
    image = pictures(2, 32, 48, seed=1)
    exact, rounded = build_dense(settings), build_dense(settings)
    rounded.set_precision(precision)
    features = rounded(image, text)
    assert features.dtype == rounded.dtype
    similar = F.cosine_similarity(features.float(), exact(image, text), dim=1)
    assert similar.mean() > 0.98
    assert similar.min() > 0.8


def test_pictures_are_each_alone(build_segmentor):
    window = dict(crop=40, stride=24, padding="symmetric", batch=3)
    model = build_segmentor(backbone=dict(tail=tail(4)), window=window)
    model.prepare()
    images = [
        torch.randn(3, *size, generator=torch.Generator().manual_seed(1)) for size in ((48, 56), (48, 56), (40, 64))
    ]
    sizes = [tuple(image.shape[1:]) for image in images]
    for image, size, maps in zip(images, sizes, maps_of(model, images, sizes), strict=True):
        (alone,) = maps_of(model, [image], [size])
        torch.testing.assert_close(maps.dense(), alone.dense(), rtol=0, atol=1e-4)


def test_without_words_it_is_refused(build_dense, pictures):
    dense = build_dense(tail())
    with pytest.raises(InputError, match="depends on the words"):
        dense(pictures(1, 24, 40))
    with pytest.raises(InputError, match="depends on the words"):
        dense.attention_maps(pictures(1, 24, 40), None)


@pytest.mark.parametrize(
    "settings", [dict(type="FSA"), tail(attention="qk"), tail(residual=True), tail(mlp=True)], ids=str
)
def test_what_contradicts_itself_is_refused(settings, build_dense):
    with pytest.raises(InputError, match=r"FSA over|FSA is over"):
        build_dense(settings)


def test_the_sharpness_of_the_largest_tower():
    found = [cell("fsa", None, name).model.backbone.tail.sharpness for name in ("openai_vit_l14", "laion2b_vit_h14")]
    assert found == [3.0, 2.3]
    assert cell("fsa", "cityscapes").model.window.stride == 80
