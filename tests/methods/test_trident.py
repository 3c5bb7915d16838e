"""Trident: its affinity and its splice against the float64 formulas."""

import formulas_guided as guided
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from stub_guide import StubGuide

from sclip_seg.methods.trident import masked_affinity, mean_similarity, spliced
from sclip_seg.picture.window import windows
from sclip_seg.towers.guide import LastAttention

KAPPAS = [0.0, 0.5, 1.2, 3.0]


def random_last(tokens: int = 14, lean: float = 0.3, seed: int = 0) -> LastAttention:
    """Three heads of width 5; the last four tokens' values point away from the others'."""
    generator = torch.Generator().manual_seed(seed)
    common = F.normalize(torch.randn(3, 1, 5, generator=generator), dim=-1)
    side = torch.ones(tokens, 1)
    side[-4:] = -1
    values = torch.randn(3, tokens, 5, generator=generator) + lean * 5**0.5 * side * common
    weights = (2 * torch.randn(3, tokens, tokens, generator=generator)).softmax(-1)
    return LastAttention((2, tokens // 2), values, lambda head: weights[head])


def expected_affinity(last: LastAttention, kappa: float, mend: bool) -> np.ndarray:
    weights = np.stack([last.weights(head).double().numpy() for head in range(len(last.values))])
    return guided.masked_affinity(weights, last.values.double().numpy(), kappa, mend)


@pytest.mark.parametrize("lean", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("mend", [False, True])
@pytest.mark.parametrize("kappa", KAPPAS)
def test_affinity_equals_the_formula(kappa, mend, lean):
    for seed in range(3):
        last = random_last(lean=lean, seed=seed)
        affinity = masked_affinity(last, kappa, mend)
        assert affinity.dtype == torch.float32
        np.testing.assert_allclose(affinity.numpy(), expected_affinity(last, kappa, mend), rtol=0, atol=1e-5)
        torch.testing.assert_close(affinity.sum(1), torch.ones(14))
        assert affinity.min() >= 0
        assert (affinity.diagonal() > 0).all()


def test_negative_thresholds_are_mended_and_no_others():
    last = random_last(lean=1.0)
    unit = F.normalize(last.values, dim=-1)
    means = (unit @ unit.transpose(1, 2)).mean((0, 2))
    assert (means[-4:] < -0.05).all()
    assert (means[:-4] > 0.05).all()
    plain, mended = (masked_affinity(last, 1.2, mend) for mend in (False, True))
    assert torch.equal(mended[:-4], plain[:-4])
    assert ((mended[-4:] > 0).sum(1) < (plain[-4:] > 0).sum(1)).all()


def test_the_threshold_has_a_ceiling():
    """Values so alike that 3 times their mean cosine is above 1: those beyond 0.9 still count."""
    generator = torch.Generator().manual_seed(4)
    values = 0.4 * torch.randn(1, 10, 5, generator=generator) + torch.ones(5)
    last = LastAttention((2, 5), values, lambda head: torch.full((10, 10), 0.1))
    unit = F.normalize(values[0], dim=1)
    assert 3 * (unit @ unit.T).mean(1).min() > 1
    affinity = masked_affinity(last, 3.0, False)
    assert torch.equal(affinity > 0, unit @ unit.T > 0.9)
    assert 10 < (affinity > 0).sum() < 100
    torch.testing.assert_close(affinity.sum(1), torch.ones(10))


def test_the_threshold_is_one_for_all_heads():
    """Head 0's values all agree and head 1's cancel: the mean of both, 1/2, is what each head is held against."""
    values = torch.zeros(2, 4, 2)
    values[0, :, 0] = 1
    values[1] = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    last = LastAttention((1, 4), values, lambda head: torch.full((4, 4), 0.25))
    expected = torch.full((4, 4), 1.0) + torch.eye(4)
    torch.testing.assert_close(masked_affinity(last, 1.0, False), expected / 5)


@pytest.mark.parametrize("shape", [(6, 6, 4, 4), (1, 6, 3, 5)], ids=str)
def test_the_mean_is_over_all_windows(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(1)) + torch.linspace(-1, 1, 6)[:, None, None]
    features[-1] += 2
    expected = guided.shared_mean([guided.places(window) for window in features.double().numpy()])
    assert abs(mean_similarity(features) - expected) < 1e-6


# Sizes that windows of 32 pixels cover with the last one shifted back, or not; cells of the guide a window.
@pytest.mark.parametrize("stride", [8, 16, 24, 32])
@pytest.mark.parametrize("size", [(32, 32), (40, 72), (88, 32), (56, 48)], ids=str)
@pytest.mark.parametrize("cells", [4, 8, 2, 5, 7], ids="{}".format)
def test_splice_equals_the_formula(cells, size, stride):
    plan = windows(size, 32, stride, patch=8)
    generator = torch.Generator().manual_seed(cells)
    tiles = torch.randn(len(plan), 3, cells, cells, generator=generator)
    own = [guided.on_clips_cells(tile, (4, 4)) for tile in tiles.double().numpy()]
    ratio = own[0].shape[1] // 4
    boxes = plain_chain.mmseg_boxes(size, 32, stride)
    corners = [(top // 8 * ratio, left // 8 * ratio) for top, left, _, _ in boxes]
    expected = guided.splice(own, corners, tuple(side // 8 * ratio for side in size))
    np.testing.assert_allclose(spliced(tiles, plan).numpy(), expected, rtol=0, atol=1e-5)


def test_forward_of_two_windows_is_that_of_each(build_dense, pictures):
    """Features of windows, without splice and affinity, are ProxyCLIP's."""
    tail = dict(type="Trident", guide=dict(type=StubGuide), affinity=dict(type=StubGuide))
    dense, image = build_dense(tail), pictures(2, 24, 40)
    image[1] = 0.4 * image[1] + 0.8
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)
