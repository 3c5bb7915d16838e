"""CASS beside its float64 formula: whole matrices and their singular values, pairs found by trying every order."""

from itertools import combinations

import formulas_cass as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import LastBlockWeights
from protocols_stages import TEXT_SIDE, text_side
from runs import cell
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.cass import assigned, low_rank, patches_alone, ranged, spectral_distance, spectrum, squared
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.guide import Guide

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)  # OpenAI's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
SIZES = [(32, 32), (24, 40), (48, 16)]
OPTIONS = [
    dict(),
    dict(pairing="paper"),
    dict(pairing="identity", stretch=False),
    dict(rank=4),
    dict(rank=4, stretch=False),  # of so many as there are channels at least, stretching changes no proportion
    dict(strength=2.0),
    dict(sigma=1.5),
]


def tail(unit: int = 8, **options) -> dict:
    return dict(type="CASS", guide=dict(type=StubGuide, unit=unit), **options)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def keys_of(counts: list[int], seed: int = 0) -> Tensor:
    """(4, 30, 8), of which so many channels of each head stand out."""
    stands_out = torch.where(torch.arange(8) < torch.tensor(counts).view(4, 1, 1), 1.0, 0.1)
    return drawn(4, 30, 8, seed=seed).clamp(-1.5, 1.5) * stands_out


def reference(dense: DenseCLIP, image: Tensor, **options) -> Tensor:
    """Features (N, D, h, w) by the formula, from the last block's input as the trunk computes it."""
    w, grid = LastBlockWeights.of(dense.clip.visual), tuple(side // 8 for side in image.shape[2:])
    guide = dense.tail.guide.keys(squared(image * STD + MEAN)).double().numpy()
    states = dense.trace(image).before(-1).double().numpy()
    windows = zip(states, guide, pairs_of(dense, image), strict=True)
    return torch.from_numpy(
        np.stack([plain.cass(x, w, grid, keys, plain.Settings(**options), pairs) for x, keys, pairs in windows])
    )


def pairs_of(dense: DenseCLIP, image: Tensor) -> list[list[int]]:
    """π of each window."""
    trace = dense.trace(image)
    clip = patches_alone(trace).k
    both = zip(clip, dense.tail.guide_keys(trace, clip.shape[1]), strict=True)
    return [assigned(spectral_distance(ranged(guide, keys), keys))[1].tolist() for keys, guide in both]


def distance(features: Tensor, expected: Tensor) -> float:
    return (F.normalize(features.double(), dim=1) - F.normalize(expected.double(), dim=1)).abs().max().item()


@pytest.mark.parametrize("unit", [4, 8])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_equal_the_formula(options, size, unit, build_dense, pictures):
    dense, image = build_dense(tail(unit, **options)), pictures(2, *size)
    features, expected = dense(image), reference(dense, image, **options)
    assert features.shape == expected.shape
    assert distance(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


def test_options_move_features(build_dense, pictures):
    image = pictures(1, 32, 48)
    found = [build_dense(tail(4, **options))(image) for options in OPTIONS if options.get("pairing") != "paper"]
    assert all(distance(one, other) > 1e-4 for one, other in combinations(found, 2))


def test_pairs_are_those_of_the_largest_sum_and_released_ones_are_turned_round():
    keys, guide = keys_of([8, 6, 7, 5]), keys_of([2, 3, 1, 4], seed=2)
    clip, dino = (plain.graphs(part.double().numpy()) for part in (keys, guide))
    expected = plain.distances(dino, clip)
    found = spectral_distance(guide, keys)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)
    pairs, margin = plain.best_pairs(expected)
    assert margin > 1e-4
    row, column = assigned(found)
    assert row.tolist() == [0, 1, 2, 3]
    assert column.tolist() == pairs
    assert [pairs[pairs[head]] for head in range(4)] != [0, 1, 2, 3]  # or the two ways could not be told apart


def test_scores_by_sure_pairs_equal_the_formula_and_each_way_is_another(build_dense):
    keys, guide = keys_of([8, 6, 7, 5]), keys_of([2, 3, 1, 4], seed=2)
    found = {}
    for pairing in ("released", "paper", "identity"):
        found[pairing] = build_dense(tail(pairing=pairing)).tail.scores(keys, guide)
        expected = plain.scores(keys.double().numpy(), guide.double().numpy(), plain.Settings(pairing=pairing))
        np.testing.assert_allclose(found[pairing].double().numpy(), expected, rtol=0, atol=1e-4)
    assert (found["released"] - found["paper"]).abs().max() > 0.1
    assert (found["released"] - found["identity"]).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(3, 30, 8), (3, 12, 40), (3, 30, 30)], ids=str)
def test_spectra_and_ranks_are_those_of_the_whole_matrices(shape):
    """Though only the products of the channels are ever decomposed."""
    keys = drawn(*shape) + 0.5
    for head, (graph, values) in enumerate(zip(plain.graphs(keys.double().numpy()), spectrum(keys), strict=True)):
        np.testing.assert_allclose(
            (values / values.sum()).numpy()[: shape[1]], plain.spectrum(graph), rtol=0, atol=1e-9
        )
        for rank, stretch in ((10, True), (10, False), (4, True), (50, True), (1, False)):
            expected = plain.low_rank(graph, rank, stretch)
            found = low_rank(keys, rank, stretch)[head].double().numpy()
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())


def test_ranges():
    x, like = drawn(2, 3, 4), drawn(2, 3, 4, seed=1)
    together = ranged(x, like)
    assert (together.min(), together.max()) == (like.min(), like.max())
    apart = ranged(x, like, dims=(1, 2))
    torch.testing.assert_close(apart.amax((1, 2)), like.amax((1, 2)))
    assert ranged(torch.ones(2, 3, 4), like).isfinite().all()


def test_windows_are_squeezed_into_squares():
    image = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    found = squared(image)
    assert found.shape == (2, 3, 24, 24)
    assert 0 <= found.min() < found.max() <= 1
    torch.testing.assert_close(found.mean(), image.mean(), rtol=0, atol=0.02)
    square = image[..., :24]
    assert torch.equal(squared(square), square)


def test_the_class_token_has_no_part(build_dense, pictures):
    dense, image = build_dense(tail()), pictures(1, 32, 32)
    trace = dense.trace(image)
    before = dense.tail(trace, None)
    trace.before(-1)[:, 0] += 5
    assert torch.equal(dense.tail(trace, None), before)


def test_batch_of_two_equals_two_of_one(build_dense, pictures):
    dense, image = build_dense(tail()), pictures(2, 24, 40)
    image[1] = 0.4 * image[1] + 0.8
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_blank_picture_is_finite(colour, options, build_dense):
    features = build_dense(tail(**options))(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


def test_keys_of_one_kind_are_finite(build_dense, pictures):
    class Even(Guide):
        def keys(self, image: Tensor) -> Tensor:
            return torch.ones(len(image), 20, 4, 4)

    dense = build_dense(dict(type="CASS", guide=dict(type=Even)))
    assert dense(pictures(1, 32, 32)).isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("options", [dict(pairing="identity"), dict(pairing="identity", stretch=False)], ids=str)
def test_lower_precision_is_near(options, precision, build_dense, pictures):
    """Where no pair can turn."""
    image = pictures(2, 32, 48)
    exact, rounded = build_dense(tail(**options)), build_dense(tail(**options))
    rounded.set_precision(precision)
    features = rounded(image)
    assert features.dtype == rounded.dtype
    assert F.cosine_similarity(features.float(), exact(image), dim=1).min() > 0.98


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_pairs_in_lower_precision_are_finite(precision, build_dense, pictures):
    dense = build_dense(tail())
    dense.set_precision(precision)
    assert dense(pictures(2, 32, 48)).isfinite().all()


def test_a_guide_must_show_its_keys_and_heads_divide_them(build_dense, pictures):
    class Odd(Guide):
        def keys(self, image: Tensor) -> Tensor:
            return torch.ones(len(image), 6, 4, 4)

    with pytest.raises(InputError, match="6 channels, which 4 heads do not divide"):
        build_dense(dict(type="CASS", guide=dict(type=Odd)))(pictures(1, 32, 32))
    with pytest.raises(InputError, match="does not show its keys; TimmGuide does"):
        Guide().keys(pictures(1, 32, 32))


def test_what_changes_with_the_tower_and_the_toy():
    assert cell("cass", "toy", "toy").model.backbone.tail.guide.arch == "vit_tiny_patch16_224"


@pytest.mark.parametrize("dataset", TEXT_SIDE)
def test_the_text_side_of_the_benchmarks(dataset):
    assert cell("cass", dataset).model.to_dict()["stages"] == text_side(dataset, "ward")
