"""ProxyCLIP against its float64 formula, with guides finer, as fine and coarser than CLIP's patches of 8 pixels."""

import formulas_guided as guided
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from formulas import LastBlockWeights
from scored import maps_of
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.proxyclip import proxy_weights
from sclip_seg.towers.encoder import DenseCLIP

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)  # OpenAI's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
SIZES = {8: [(32, 32), (24, 40), (48, 16)], 4: [(32, 32), (24, 40), (48, 16)], 16: [(48, 64), (32, 80), (80, 16)]}
CASES = [(unit, size) for unit, sizes in SIZES.items() for size in sizes]
OPTIONS = [dict(beta=1.0), dict(beta=1.6), dict(gamma=2.0), dict(gamma=5.0), dict(beta=0.0, gamma=0.5)]


def tail(unit: int = 8, lean: float = 0.6, **options) -> dict:
    return dict(type="ProxyCLIP", guide=dict(type=StubGuide, unit=unit, lean=lean), **options)


def inputs(dense: DenseCLIP, image: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each window, the last block's input (T, C) and the guide's features (C_g, H, W)."""
    features = dense.tail.guide(image * STD + MEAN).double().numpy()
    return list(zip(dense.trace(image).before(-1).double().numpy(), features, strict=True))


def reference(dense: DenseCLIP, image: Tensor, **options) -> Tensor:
    """Features (N, D, H, W) by the formula, from the last block's input as the trunk computes it."""
    w, grid = LastBlockWeights.of(dense.clip.visual), tuple(side // 8 for side in image.shape[2:])
    return torch.from_numpy(
        np.stack([guided.proxyclip(x, w, grid, guide, **options) for x, guide in inputs(dense, image)])
    )


def distance(features: Tensor, expected: Tensor) -> float:
    """Largest difference between entries of the unit features."""
    return (F.normalize(features.double(), dim=1) - F.normalize(expected.double(), dim=1)).abs().max().item()


def assert_equal_features(features: Tensor, expected: Tensor) -> None:
    assert features.shape == expected.shape
    assert distance(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


def random_features(places: int = 20, lean: float = 0.6, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(places, 7, generator=generator) + lean


@pytest.mark.parametrize(("unit", "size"), CASES, ids=str)
def test_features_equal_the_formula(unit, size, build_dense, pictures):
    dense, image = build_dense(tail(unit)), pictures(2, *size)
    features = dense(image)
    assert features.shape == (2, 24, size[0] // unit, size[1] // unit)
    assert_equal_features(features, reference(dense, image))


@pytest.mark.parametrize("unit", [4, 16])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_equal_the_formula(options, unit, build_dense, pictures):
    dense, image = build_dense(tail(unit, **options)), pictures(2, 32, 48)
    features = dense(image)
    assert_equal_features(features, reference(dense, image, **options))
    assert distance(features, build_dense(tail(unit))(image)) > 1e-3


def test_the_cases_leave_some_entries_and_not_all(build_dense, pictures):
    """Or the formula would not be seen to mask."""
    for unit, size in CASES:
        for _, guide in inputs(build_dense(tail(unit)), pictures(2, *size)):
            kept = guided.proxy(guided.places(guide)) > 0
            assert len(kept) < kept.sum() < 0.9 * kept.size


def test_no_residual_no_ffn_and_no_class_token(build_dense, pictures):
    """The block's FFN, LN2, queries and keys, and what stands in the class token, have no part."""
    dense, image = build_dense(tail()), pictures(1, 32, 32)
    before, block = dense(image), dense.clip.visual.transformer.resblocks[-1]
    with torch.no_grad():
        for parameter in (*block.mlp.parameters(), *block.ln_2.parameters(), block.attn.in_proj_weight[:128]):
            parameter.add_(torch.ones_like(parameter))
    assert torch.equal(dense(image), before)
    trace = dense.trace(image)
    trace.before(-1)[:, 0] += 5
    assert torch.equal(dense.tail(trace, None), before)


def test_batch_of_two_equals_two_of_one(build_dense, pictures):
    """Windows of unlike mean similarities, so that a mean over both shows."""
    dense, image = build_dense(tail()), pictures(2, 24, 40)
    image[1] = 0.4 * image[1] + 0.8
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)
    shared = guided.shared_mean([guided.places(guide) for _, guide in inputs(dense, image)])
    assert distance(reference(dense, image, mean=shared), apart) > 1e-2


@pytest.mark.parametrize("lean", [0.0, 0.6, 2.0])
@pytest.mark.parametrize(("beta", "gamma"), [(1.2, 3.0), (1.0, 5.0), (0.0, 1.0)])
@pytest.mark.parametrize("mean", [None, 0.35])
def test_weights_equal_the_formula(mean, beta, gamma, lean):
    features = random_features(lean=lean)
    weights = proxy_weights(features, beta, gamma, None if mean is None else torch.tensor(mean))
    expected = guided.proxy(features.double().numpy(), beta, gamma, mean)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(weights.sum(1), torch.ones(20))


def test_weights_know_directions_only():
    features = random_features()
    lengths = torch.linspace(0.01, 100, 20)[:, None]
    torch.testing.assert_close(proxy_weights(lengths * features, 1.2, 3.0), proxy_weights(features, 1.2, 3.0))


def test_alike_features_leave_every_patch_to_itself(build_dense, pictures):
    """A mean similarity above 1/β leaves nothing of the published formula: the diagonal alone is kept."""
    features = random_features(lean=30.0)
    cosines = F.normalize(features, dim=1) @ F.normalize(features, dim=1).T
    assert cosines.mean() > 1 / 1.2
    assert torch.equal(proxy_weights(features, 1.2, 3.0), torch.eye(20))
    assert torch.equal(proxy_weights(torch.ones(20, 7), 1.2, 3.0), torch.eye(20))

    dense, image = build_dense(tail(lean=200.0)), pictures(2, 24, 40)
    features = dense(image)
    plain = build_dense(dict(type="MaskCLIP", residual=False, mlp=False))
    assert_equal_features(features, plain(image).double())
    assert_equal_features(features, reference(dense, image))


def test_the_diagonal_is_kept_alone_where_others_stay():
    """Of three, two alike and one apart: the mean is over 1/β for the first two, and the third is below it with all."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    weights = proxy_weights(features, 1.2, 3.0)
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("unit", [4, 8, 16])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_blank_picture_is_finite(colour, unit, build_dense):
    """At 0.5 the guide without a common part has features of length zero."""
    for lean in (0.0, 0.6):
        dense = build_dense(tail(unit, lean=lean))
        image = ((colour - MEAN) / STD).expand(1, 3, 32, 48).contiguous()
        features = dense(image)
        assert features.isfinite().all()
        assert features.norm(dim=1).min() > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("unit", [4, 16])
def test_lower_precision_is_near(unit, precision, build_dense, pictures):
    image = pictures(2, 32, 48)
    exact, rounded = build_dense(tail(unit)), build_dense(tail(unit))
    rounded.set_precision(precision)
    features = rounded(image)
    assert features.dtype == rounded.dtype
    assert rounded.tail.guide.kernel.dtype == rounded.dtype
    # A similarity at its threshold may fall to the other side.
    similar = F.cosine_similarity(features.float(), exact(image), dim=1)
    assert similar.mean() > 0.99
    assert similar.min() > 0.9


@pytest.mark.parametrize(("unit", "both"), [(4, 8), (8, 8), (16, 16), (12, 24), (14, 56)])
def test_the_unit_is_the_least_common_multiple(unit, both, build_dense):
    assert build_dense(tail(unit)).unit == both


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(guide's patch, **window)`: ProxyCLIP in windows padded with zeros."""

    def build(patch: int, **window):
        window = dict(crop=40, stride=24, padding="symmetric") | window
        return build_segmentor(backbone=dict(tail=tail(patch)), window=window)

    return build


def expected_maps(model, picture: Tensor, unit: int, label_size: tuple[int, int]) -> Tensor:
    """Score maps (Q, *label_size) by the published chain, windows padded to multiples of `unit`."""
    crop, stride, size = model.window["crop"], model.window["stride"], tuple(picture.shape[1:])
    tiles = []
    for top, left, bottom, right in plain_chain.mmseg_boxes(size, crop, stride):
        margins = plain_chain.symmetric_margins(bottom - top, right - left, unit)
        window = F.pad(picture[:, top:bottom, left:right], margins)
        features = F.normalize(reference(model.backbone, window[None]), dim=1)[0]
        tiles.append(torch.einsum("qd,dhw->qhw", model.text.features.double(), features))
    return plain_chain.stitched(torch.stack(tiles), size, crop, stride, unit, "symmetric", label_size)


@pytest.mark.parametrize(
    ("guide", "size", "given", "unit", "padded"),
    [
        (8, (61, 75), None, 8, (40, 40)),
        (4, (61, 75), None, 8, (40, 40)),
        (16, (61, 75), None, 16, (48, 48)),
        (14, (50, 60), None, 56, (56, 56)),
        (16, (29, 75), None, 16, (32, 48)),  # an odd number of rows of zeros
        (8, (61, 75), 56, 56, (56, 56)),
        (4, (30, 75), 56, 56, (56, 56)),
    ],
    ids=str,
)
def test_windows_are_padded_and_unpadded(guide, size, given, unit, padded, segmentor, pictures):
    model, picture, label_size = segmentor(guide, unit=given), pictures(1, *size)[0], (33, 47)
    model.prepare()
    maps = maps_of(model, [picture], [label_size])[0]
    assert set(model.backbone.tail.guide.seen) == {padded}
    expected = expected_maps(model, picture, unit, label_size)
    assert (maps.dense().double() - expected).abs().max() < 1e-4


def test_a_guide_coarser_than_clip_under_the_released_unit(segmentor, pictures):
    """56 is no multiple of 16: 3 cells of the guide lie over 7 patches, and their scores over all of the window."""
    model, picture = segmentor(16, unit=56), pictures(1, 40, 40)[0]
    model.prepare()
    maps = maps_of(model, [picture], [(40, 40)])[0]
    assert maps.lattice.shape == (7, 3, 3)
    expected = expected_maps(model, picture, 56, (40, 40))
    assert (maps.dense().double() - expected).abs().max() < 1e-4


def test_window_batch_moves_no_score(segmentor, pictures):
    scores = []
    for batch in (1, 3, 16):
        model = segmentor(4, batch=batch)
        model.prepare()
        scores.append(maps_of(model, [pictures(1, 61, 75)[0]], [(61, 75)])[0].dense())
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=0, atol=1e-5)


def test_a_unit_below_one_is_refused(segmentor):
    with pytest.raises(InputError, match="-8"):
        segmentor(8, unit=-8)
