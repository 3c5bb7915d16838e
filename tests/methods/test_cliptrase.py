"""CLIPtrase: its features, regions and votes against float64 formulas, and those against scikit-learn and scipy."""

import formulas_cliptrase as formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter
from sklearn.cluster import DBSCAN
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods import cliptrase
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank

SIZES = [(32, 32), (24, 40), (48, 16)]
ROUNDING = 1e-5
# A grid, the pixels of its window, and the published eps and min_samples of a grid of that many patches.
PUBLISHED = [((14, 14), (224, 224), 0.7, 3), ((21, 21), (336, 336), 1.1, 7), ((9, 15), (75, 122), 0.7, 3)]


def reference(dense: DenseCLIP, image: Tensor, text: TextBank, **settings) -> list[tuple]:
    """A window's features, scores and E each by the float64 formula, from the trunk's start as the trunk has it."""
    starts = []
    hook = dense.clip.visual.ln_pre.register_forward_hook(lambda module, given, out: starts.append(out))
    grid = dense.trace(image).grid
    hook.remove()
    weights, queries = tower_weights(dense.clip.visual), text.features.double().numpy()
    return [formulas.cliptrase(x, weights, grid, queries, **settings) for x in starts[0].double().numpy()]


def bank(owner: tuple[int, ...] = (0, 0, 1, 2, 2, 3), seed: int = 0) -> TextBank:
    features = torch.randn(len(owner), 24, generator=torch.Generator().manual_seed(seed))
    return TextBank(F.normalize(features, dim=-1), torch.tensor(owner), max(owner) + 1)


def patchwork(grid: tuple[int, int], seed: int = 0, noise: float = 0.05, stray: int = 5) -> Tensor:
    """An E (P, P) of four areas of the grid whose patches see their own; `stray` patches see anything."""
    height, width = grid
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    area = (2 * (3 * rows > height) + (2 * columns + rows > width)).flatten()
    strength = noise * torch.rand(len(area), len(area), generator=generator)
    strength += 0.3 * (area[:, None] == area) - 0.1
    lost = torch.randperm(len(area), generator=generator)[:stray]
    strength[lost] = torch.rand(stray, len(area), generator=generator)
    return strength.clamp(min=0)


def assert_same_regions(found: Tensor, maps: np.ndarray) -> None:
    """Equal to the strongest map wherever rounding cannot change which that is, which is nearly everywhere."""
    assert found.dtype == torch.int64
    assert found.shape == maps.shape[1:]
    ranked = np.sort(maps, axis=0)
    sure = (ranked[-1] == 0) | (len(maps) == 1 or ranked[-1] - ranked[-2] > ROUNDING)
    assert sure.mean() > 0.99
    assert (found.numpy() == maps.argmax(0))[sure].all()


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_equal_the_formula(size, reduce, build_dense, pictures):
    dense, image = build_dense(dict(type="CLIPtrase", reduce=reduce)), pictures(2, *size)
    features = dense(image).double()
    expected = torch.from_numpy(np.stack([w[0] for w in reference(dense, image, bank(), reduce=reduce)]))
    assert features.shape == expected.shape
    assert (F.normalize(features, dim=1) - F.normalize(expected, dim=1)).abs().max() < 1e-4
    torch.testing.assert_close(features.norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("reduce", "total"), [("sum", 3.0), ("mean", 1.0)])
def test_attention_rows_sum(reduce, total, build_dense, pictures):
    dense = build_dense(dict(type="CLIPtrase", reduce=reduce))
    weights = dense.tail.attention(dense.trace(pictures(2, 24, 40)).qkv(-1)).weights()
    assert weights.shape == (2, 4, 16, 16)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(-1), torch.full((2, 4, 16), total))


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scores_without_clusters_equal_the_formula(size, prior, build_dense, pictures):
    dense = build_dense(dict(type="CLIPtrase", cluster=False, image_prior=prior))
    image = pictures(2, *size)
    scores = dense.score(image, bank())
    expected = np.stack([w[1] for w in reference(dense, image, bank(), image_prior=prior)])
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), expected, rtol=0, atol=1e-4)


def test_correlations_equal_the_formula(build_dense, pictures):
    dense, image = build_dense(dict(type="CLIPtrase")), pictures(2, 24, 40)
    correlation = cliptrase.self_correlation(dense.trace(image).qkv(-2))
    assert correlation.dtype == torch.float32
    torch.testing.assert_close(correlation, correlation.transpose(1, 2))
    torch.testing.assert_close(correlation.diagonal(dim1=1, dim2=2), torch.ones(2, 16))
    denoised = cliptrase.denoise(correlation)
    expected = np.stack([window[2] for window in reference(dense, image, bank())])
    np.testing.assert_allclose(denoised.numpy(), expected, rtol=0, atol=1e-5)
    assert denoised.min() == 0
    for window in range(2):
        again = formulas.denoise(correlation[window].double().numpy())
        np.testing.assert_allclose(denoised[window].numpy(), again, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("grid", "eps", "least"), [(p[0], *p[2:]) for p in PUBLISHED], ids=str)
def test_clusters_of_the_formula_are_scikit_learns(grid, eps, least):
    """Which lets the formula's regions stand for DBSCAN's."""
    for seed, noise in enumerate((0.05, 0.1, 0.16)):
        points = patchwork(grid, seed, noise).double().numpy()
        expected = DBSCAN(eps=eps, min_samples=least).fit_predict(points)
        assert formulas.dbscan(points, eps, least).tolist() == expected.tolist()
        if seed == 0:
            assert (len(set(expected)), min(expected)) == (5, -1)


@pytest.mark.parametrize("shape", [(56, 56), (12, 20), (4, 8)], ids=str)
def test_median_of_the_formula_is_scipys(shape):
    plane = np.random.default_rng(0).random(shape)
    np.testing.assert_array_equal(formulas.median(plane), median_filter(plane, size=7, mode="reflect"))


@pytest.mark.parametrize("size", [(56, 56), (75, 122), (10, 9)], ids=str)
def test_resampling_of_the_formula_is_torchs(size):
    maps = torch.rand(2, 14, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(formulas.bilinear(maps.numpy(), size), expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("grid", "size", "eps", "least"), PUBLISHED, ids=str)
def test_regions_equal_the_formula(grid, size, eps, least, seed):
    denoised = patchwork(grid, seed)
    maps = formulas.region_maps(denoised.double().numpy(), grid, size, eps, least)
    assert len(maps) == 4
    found = cliptrase.regions(denoised, grid, size, eps, least)
    assert_same_regions(found, maps)
    assert set(found.unique().tolist()) == {0, 1, 2, 3}


def test_pixels_that_no_cluster_sees_are_the_first_regions():
    """Columns of E that are 0 in every cluster's mean."""
    grid, denoised = (14, 14), patchwork((14, 14), noise=0.0, stray=0)
    denoised.view(196, 14, 14)[:, 9:, 9:] = 0
    found = cliptrase.regions(denoised, grid, (112, 112), 0.7, 3)
    assert_same_regions(found, formulas.region_maps(denoised.double().numpy(), grid, (112, 112), 0.7, 3))
    assert found.max() > 0
    assert (found[90:, 90:] == 0).all()


def test_no_cluster_and_one_cluster():
    denoised = patchwork((6, 8))
    assert cliptrase.regions(denoised, (6, 8), (48, 64), 1e-6, 3) is None
    assert cliptrase.regions(denoised, (6, 8), (48, 64), 0.7, 49) is None
    assert torch.equal(cliptrase.regions(denoised, (6, 8), (48, 64), 1e3, 3), torch.zeros(48, 64, dtype=torch.int64))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), classes=st.integers(1, 5), gaps=st.booleans())
def test_votes_equal_the_formula(seed, count, classes, gaps):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (7, 9), generator=generator)
    regions = torch.randint(count, (7, 9), generator=generator) * (3 if gaps else 1)
    shares = cliptrase.votes(labels, regions, classes)
    assert shares.dtype == torch.float32
    expected = formulas.votes(labels.numpy(), regions.numpy(), classes)
    np.testing.assert_allclose(shares.numpy(), expected, rtol=1e-6)
    assert shares.argmax(0).tolist() == formulas.most_frequent(labels.numpy(), regions.numpy()).tolist()


def test_votes_by_hand():
    labels = torch.tensor([[2, 2, 1, 1], [0, 2, 0, 3]])
    regions = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    shares = cliptrase.votes(labels, regions, 4)
    assert shares[:, 0, 0].tolist() == [0.25, 0, 0.75, 0]
    assert shares[:, 1, 3].tolist() == [0.25, 0.5, 0, 0.25]
    tied = cliptrase.votes(torch.tensor([[3, 1, 3, 1]]), torch.zeros(1, 4, dtype=torch.long), 4)
    assert (tied.argmax(0) == 1).all()


def test_votes_without_regions_are_the_pixels_own_labels():
    labels = torch.tensor([[2, 0], [1, 2]])
    expected = [[[0, 1], [0, 0]], [[0, 0], [1, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]]
    shares = cliptrase.votes(labels, None, 4)
    assert shares.dtype == torch.float32
    assert shares.tolist() == expected
    assert shares.tolist() == formulas.votes(labels.numpy(), None, 4).tolist()


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize(("eps", "least"), [(0.8, 2), (0.85, 3), (1e-3, 3)])
@pytest.mark.parametrize("size", [*SIZES, (30, 44)], ids=str)
def test_scores_are_the_votes_of_the_formula(size, eps, least, prior, build_dense, pictures):
    dense = build_dense(dict(type="CLIPtrase", eps=eps, min_samples=least, image_prior=prior))
    image, text, clusters = pictures(2, *size), bank(), []
    scores, owner = dense.score(image, text), text.owner.numpy()
    assert scores.shape == (2, 6, *size)
    assert scores.dtype == torch.float32
    windows = reference(dense, image, text, image_prior=prior)
    for found, (_, patches, denoised) in zip(scores.numpy(), windows, strict=True):
        labels = owner[formulas.bilinear(patches, size).argmax(0)]
        maps = formulas.region_maps(denoised, patches.shape[1:], size, eps, least)
        clusters.append(0 if maps is None else len(maps))
        expected = formulas.votes(labels, None if maps is None else maps.argmax(0), text.classes)[owner]
        changed = np.abs(found - expected) > 0.01  # a pixel on an edge may change sides by rounding
        assert changed.mean() < 0.005
    assert any(clusters) != (eps == 1e-3)
    assert max(clusters) > 1 or least == 3


def test_queries_of_one_class_vote_together(build_dense, pictures):
    """One region; the class of two queries outvotes the class of the query that wins most pixels."""
    image = pictures(1, 32, 32)
    dense = build_dense(dict(type="CLIPtrase", eps=1e3, min_samples=1))
    patches = F.normalize(dense(image), dim=1)[0].flatten(1).T
    apart = TextBank(patches[[0, 5, 15]], torch.tensor([0, 1, 2]), 3)
    alone = dense.score(image, apart)[0]
    assert torch.equal(alone, alone[:, :1, :1].expand_as(alone))
    shares = alone[:, 0, 0]
    assert shares.sum() == pytest.approx(1)
    first, second, third = shares.argsort(descending=True).tolist()
    assert shares[second] + shares[third] > shares[first] > shares[second]

    order = [first, second, third]
    together = dense.score(image, TextBank(apart.features[order], torch.tensor([1, 0, 0]), 2))[0, :, 0, 0]
    expected = torch.stack([shares[first], shares[second] + shares[third], shares[second] + shares[third]])
    torch.testing.assert_close(together, expected)


@pytest.mark.parametrize("options", [dict(), dict(eps=0.9), dict(cluster=False, image_prior=True)], ids=str)
def test_batch_of_two_equals_two_of_one(options, build_dense, pictures):
    dense, image = build_dense(dict(type="CLIPtrase") | options), pictures(2, 24, 40)
    scores = dense.score(image, bank())
    apart = torch.cat([dense.score(image[:1], bank()), dense.score(image[1:], bank())])
    torch.testing.assert_close(scores, apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)


@pytest.mark.parametrize("options", [dict(), dict(eps=1e-3), dict(cluster=False)], ids=str)
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_blank_picture_is_finite(colour, options, build_dense):
    dense = build_dense(dict(type="CLIPtrase") | options)
    image = torch.full((1, 3, 32, 24), colour)
    assert dense(image).isfinite().all()
    assert dense.score(image, bank()).isfinite().all()


@pytest.mark.parametrize("options", [dict(eps=0.9), dict(cluster=False, image_prior=True)], ids=str)
def test_bf16_runs(options, build_dense, pictures):
    dense, image = build_dense(dict(type="CLIPtrase") | options), pictures(2, 24, 40)
    exact = dense(image)
    dense.set_precision("bf16")
    features, scores = dense(image), dense.score(image, bank())
    assert features.dtype == torch.bfloat16
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert F.cosine_similarity(features.float(), exact, dim=1).min() > 0.99


def test_an_unknown_reduction_is_named(build_dense, pictures):
    with pytest.raises(InputError, match="'max'"):
        build_dense(dict(type="CLIPtrase", reduce="max"))(pictures(1, 32, 32))
