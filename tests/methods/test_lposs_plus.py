"""LPOSS+ and the maximum over a class's queries: the graph of pixels, and score maps at the network's size."""

import formulas_lposs as plain
import numpy as np
import plain_chain
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scored import maps_of
from stub_guide import StubGuide
from surfaces import normalised, surfaces
from torch import Tensor

from sclip_seg.methods import lposs
from sclip_seg.methods.lposs import lab, pixel_graph
from sclip_seg.picture.scores import DenseMaps
from sclip_seg.picture.segmentor import OpenVocabSegmentor

PLUS = dict(type="LPOSSPlus")


def dense(graph: lposs.Graph) -> np.ndarray:
    return sum(part.to_dense().double() for part in graph.parts).numpy()


def test_colours_equal_the_formula():
    """Both branches of both curves: from black, near black, to white."""
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(3, 6, 9, generator=generator) * torch.tensor([0.001, 0.03, 0.1, 0.3, 1.0, 1.0])[:, None]
    rgb[:, 0, 0], rgb[:, 5, 8] = 0, 1
    np.testing.assert_allclose(lab(rgb).double().numpy(), plain.lab(rgb.double().numpy()), rtol=0, atol=2e-6)
    np.testing.assert_allclose(lab(rgb)[:, 5, 8], [1, 0, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(lab(rgb)[:, 0, 0], [0, 0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 2000, 2**23])
@pytest.mark.parametrize(
    ("size", "reach", "tau"),
    [((5, 7), 2, 0.1), ((9, 4), 6, 0.1), ((1, 6), 1, 0.05), ((1, 1), 3, 0.1), ((12, 10), 3, 1)],
)
def test_the_graph_equals_the_formula(size, reach, tau, chunk, monkeypatch):
    monkeypatch.setattr(lposs, "CHUNK", chunk)
    colours = lab(torch.rand(3, *size, generator=torch.Generator().manual_seed(reach)))
    found, expected = dense(pixel_graph(colours, reach, tau)), plain.pixel_weights(colours.double().numpy(), reach, tau)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.array_equal(found > 0, found.T > 0)
    assert not found.diagonal().any()


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_a_sparse_product_is_the_dense_one(height, width, reach, seed):
    colours = lab(surfaces(height, width, seed))
    graph = pixel_graph(colours, reach, 0.05)
    columns = torch.randn(height * width, 2, generator=torch.Generator().manual_seed(seed))
    expected = plain.normalised(dense(graph)) @ columns.double().numpy()
    np.testing.assert_allclose(graph.mix(columns).double().numpy(), expected, rtol=0, atol=1e-5)


def test_a_pixel_unlike_all_others_stays_as_it_is():
    """Its weights are no numbers of fp32: degree 0, which counts as 1. In float64 it is the same to rounding."""
    colours = torch.full((3, 5, 6), 0.5)
    colours[:, 2, 3] = 3.0
    graph = pixel_graph(colours, 2, 0.01)
    lone, found = 2 * 6 + 3, dense(graph)
    assert not found[lone].any()
    assert graph.scale[lone] == 1
    assert (np.delete(found.sum(1), lone) > 0).all()
    columns = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    spread = graph.spread(columns, 0.95, 10)
    weights = plain.pixel_weights(colours.double().numpy(), 2, 0.01)
    assert 0 < weights[lone].sum() < 1e-100
    expected = plain.spread(weights, columns.double().numpy())
    np.testing.assert_allclose(spread.double().numpy(), expected, rtol=0, atol=5e-5)


def stage(**options) -> dict:
    return dict(type="LPOSS", guide=dict(type=StubGuide)) | options


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(refine, stages, **settings)`, its queries encoded."""

    def build(refine: list, stages: tuple = (), **settings) -> OpenVocabSegmentor:
        model = build_segmentor(refine=refine, stages=list(stages), **settings)
        model.prepare()
        return model

    return build


@torch.no_grad()
def refined(model: OpenVocabSegmentor, images: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """The maps (Q, H, W) of normalised pictures, given at once, after the steps on them, at `size`."""
    samples = [dict(ori_shape=size) for _ in images]
    return [model.refine(model.score(seen), seen).dense() for seen in model.look(images, samples)]


def unrefined(model: OpenVocabSegmentor, image: Tensor) -> np.ndarray:
    """The maps (Q, h, w) at the network's size, before the steps."""
    return maps_of(model, [image], [tuple(image.shape[1:])])[0].dense().double().numpy()


CHANGES = [dict(), dict(reach=2), dict(tau=0.05), dict(alpha=0.5), dict(steps=3)]


@pytest.mark.parametrize(
    ("stages", "options"), [*(((), options) for options in CHANGES), ((stage(neighbours=20),), dict())], ids=str
)
def test_maps_are_spread_at_the_network_s_size(stages, options, segmentor):
    """And enlarged bilinearly from there."""
    rgb, size = surfaces(20, 28), (33, 47)
    model = segmentor([PLUS | options], stages)
    (found,) = refined(model, [normalised(rgb)], size)
    spread = plain.spread_pixels(unrefined(model, normalised(rgb)), rgb.double().numpy(), **options)
    expected = plain_chain.resize(torch.from_numpy(spread), size)
    assert (found.double() - expected).abs().max() < 2e-4
    (before,) = refined(segmentor([], stages), [normalised(rgb)], size)
    assert (found - before).abs().max() > 0.1


@pytest.mark.parametrize("chunk", [1, 3 * 20 * 28])
def test_a_few_queries_at_a_time_move_nothing(chunk, segmentor, monkeypatch):
    model, image = segmentor([PLUS]), normalised(surfaces(20, 28))
    (whole,) = refined(model, [image], (20, 28))
    monkeypatch.setattr(lposs, "CHUNK", chunk)
    torch.testing.assert_close(refined(model, [image], (20, 28))[0], whole, rtol=0, atol=5e-5)


def test_pictures_are_each_alone(segmentor):
    model = segmentor([PLUS, "ClassMaximum"], (stage(neighbours=20),))
    images = [normalised(surfaces(20, 28)), normalised(surfaces(20, 28, seed=1)), normalised(surfaces(40, 24, seed=2))]
    for image, found in zip(images, refined(model, images, (33, 47)), strict=True):
        torch.testing.assert_close(found, refined(model, [image], (33, 47))[0], rtol=0, atol=2e-4)


def test_a_class_has_its_best_query_at_the_network_s_size(segmentor):
    """The maximum over each class's queries, then bilinear; every query of a class has it."""
    model, image, size = segmentor(["ClassMaximum"]), normalised(surfaces(20, 28)), (61, 90)
    (found,) = refined(model, [image], size)
    owner, before = model.text.owner.tolist(), unrefined(model, image)
    assert owner == [0, 0, 1, 2, 2, 2, 3]
    expected = plain_chain.resize(torch.from_numpy(plain.class_maxima(before, owner)), size)
    torch.testing.assert_close(found.double(), expected[owner], rtol=0, atol=1e-5)
    at_labels = plain.class_maxima(plain_chain.resize(torch.from_numpy(before), size).numpy(), owner)
    assert np.abs(at_labels - expected.numpy()).max() > 1e-3


def test_the_maximum_of_single_queries_moves_nothing_at_the_network_s_size(segmentor):
    model, image = segmentor(["ClassMaximum"], vocabulary=["sky", "grass", "dog"]), normalised(surfaces(20, 28))
    (found,) = refined(model, [image], (20, 28))
    torch.testing.assert_close(found.double(), torch.from_numpy(unrefined(model, image)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("first", [PLUS, "ClassMaximum"], ids=str)
def test_steps_take_maps_that_are_held_whole(first, segmentor):
    """After PAMR, which gives them at the labels' size: they are brought to the network's."""
    image, size = normalised(surfaces(20, 28)), (56, 80)
    pamr = dict(type="PAMR", steps=1, dilations=(1,))
    (dense_maps,) = refined(segmentor([pamr]), [image], size)
    (found,) = refined(segmentor([pamr, first]), [image], size)
    model = segmentor([first])
    with torch.no_grad():
        picture = next(iter(model.look([image], [dict(ori_shape=size)])))
        expected = model.score_steps[0].revise(DenseMaps(dense_maps).at((20, 28)), picture).dense()
    assert found.shape == (7, *size)
    enlarged = plain_chain.resize(expected, size)
    torch.testing.assert_close(found, enlarged, rtol=0, atol=2e-4)


def test_the_published_labels(segmentor):
    """LPOSS, LPOSS+, the maximum at the network's size, bilinear to the labels', the best class."""
    rgb, size = surfaces(20, 28), (40, 60)
    model = segmentor([PLUS, "ClassMaximum"], (stage(neighbours=20),), logit_scale=1)
    image = normalised(rgb)
    spread = plain.spread_pixels(unrefined(model, image), rgb.double().numpy())
    maps = plain_chain.resize(torch.from_numpy(plain.class_maxima(spread, model.text.owner.tolist())), size)
    (labels, _) = next(iter(model.segment([image], [dict(ori_shape=size)])))
    best = maps.topk(2, dim=0)
    sure = best.values[0] - best.values[1] > 1e-3
    assert sure.float().mean() > 0.9
    assert torch.equal(labels[sure], best.indices[0][sure])


def test_a_blank_picture_is_finite(segmentor):
    model = segmentor([PLUS, "ClassMaximum"], (stage(),))
    for colour in (0.0, 0.5, 1.0):
        (found,) = refined(model, [normalised(torch.full((3, 20, 28), colour))], (33, 47))
        assert found.isfinite().all()
