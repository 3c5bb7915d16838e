"""LPOSS: its graph, its solver's steps and whole pictures against the float64 formulas, after any tail."""

import formulas_lposs as plain
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from scored import maps_of
from stub_guide import StubGuide
from surfaces import MEAN, STD
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods import lposs
from sclip_seg.methods.lposs import centres, patch_graph
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.solver import conjugate_gradients
from sclip_seg.picture.window import windows
from sclip_seg.towers.guide import Guide

ROUNDING = 5e-7  # of cosines in fp32: neighbours as near to each other may change places


class GuideWithoutValues(Guide):
    def forward(self, image: Tensor) -> Tensor:
        return image


def dense(graph: lposs.Graph) -> np.ndarray:
    return sum(part.to_dense().double() for part in graph.parts).numpy()


def random_graph(count: int, neighbours: int, seed: int) -> tuple[lposs.Graph, np.ndarray]:
    """Of random features, some of them alike and some opposite; and W by the formula."""
    generator = torch.Generator().manual_seed(seed)
    nodes = F.normalize(torch.randn(count, 7, generator=generator) + 0.3, dim=1)
    places = torch.randint(0, 200, (count, 2), generator=generator).float()
    numbers = nodes.double().numpy(), places.double().numpy()
    return patch_graph(nodes, places, neighbours, 3.0, 0.01), plain.patch_weights(*numbers, neighbours, 3.0, 0.01)[0]


@pytest.mark.parametrize(("power", "sigma"), [(3.0, 0.01), (1.0, 0.05), (0.5, 0.0)])
@pytest.mark.parametrize("neighbours", [1, 5, 29, 30, 400])
def test_the_graph_equals_the_formula(neighbours, power, sigma):
    generator = torch.Generator().manual_seed(neighbours)
    nodes = F.normalize(torch.randn(30, 7, generator=generator) + 0.3, dim=1)
    places = torch.randint(0, 200, (30, 2), generator=generator).float()
    graph = patch_graph(nodes, places, neighbours, power, sigma)
    settings = (neighbours, power, sigma)
    expected, gap = plain.patch_weights(nodes.double().numpy(), places.double().numpy(), *settings)
    assert gap > ROUNDING
    found = dense(graph)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if power >= 1 else 1e-3)
    assert np.array_equal(found, found.T)
    assert not found.diagonal().any()
    degree = expected.sum(1)
    np.testing.assert_allclose(graph.scale[:, 0].double().numpy(), np.where(degree, degree, 1) ** -0.5, rtol=1e-3)
    if neighbours == 1:  # each has itself, which is no edge
        assert not found.any()
        assert (graph.scale == 1).all()


@given(st.integers(1, 12), st.integers(1, 14), st.integers(1, 4), st.integers(0, 10**6))
def test_a_sparse_product_is_the_dense_one(count, neighbours, columns, seed):
    graph, weights = random_graph(count, neighbours, seed)
    given_columns = torch.randn(count, columns, generator=torch.Generator().manual_seed(seed))
    expected = plain.normalised(dense(graph)) @ given_columns.double().numpy()
    np.testing.assert_allclose(graph.mix(given_columns).double().numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(dense(graph), weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 70, 1000])
def test_chunks_of_nodes_move_nothing(chunk, monkeypatch):
    whole = dense(random_graph(30, 6, 0)[0])
    monkeypatch.setattr(lposs, "CHUNK", chunk)
    np.testing.assert_allclose(dense(random_graph(30, 6, 0)[0]), whole, rtol=0, atol=1e-6)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 15), st.integers(0, 10**6))
def test_every_column_is_solved_by_itself(count, columns, steps, seed):
    """Beside a column of zeros, which is done at once, and an eigenvector, which is done after a step or two."""
    matrix = np.eye(count) - 0.95 * plain.normalised(random_graph(count, 5, seed)[1])
    values, vectors = np.linalg.eigh(matrix)
    right = np.random.default_rng(seed).standard_normal((count, columns))
    right = np.concatenate([right, np.zeros((count, 1)), vectors[:, :1]], axis=1)
    found = conjugate_gradients(lambda x: torch.from_numpy(matrix) @ x, torch.from_numpy(right), steps).numpy()
    taken = []
    for column, own in zip(right.T, found.T, strict=True):
        expected, count_of_steps = plain.conjugate_gradients(matrix, column, steps)
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-7 * (1 + np.abs(expected).max()))
        taken.append(count_of_steps)
    assert taken[-2] == 0
    assert taken[-1] <= 2
    more = conjugate_gradients(lambda x: torch.from_numpy(matrix) @ x, torch.from_numpy(right), steps + 5).numpy()
    for column, own, later, count_of_steps in zip(right.T, found.T, more.T, taken, strict=True):
        if count_of_steps < steps:  # it was done, and stayed
            assert np.array_equal(own, later)
            exact = np.linalg.solve(matrix, column)
            assert np.linalg.norm(own - exact) <= 1.1e-6 / values[0] * np.linalg.norm(column)


def test_ten_steps_are_no_solution():
    """Of the steps that are part of the method, none is left out, and none is added."""
    _, weights = random_graph(60, 8, 3)
    graph, columns = random_graph(60, 8, 3)[0], torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    found = graph.spread(columns, 0.95, 10).double().numpy()
    near = [np.abs(found - plain.spread(weights, columns.double().numpy(), 0.95, n)).max() for n in (9, 10, 11)]
    assert near[1] < 2e-5 < 1e-3 < min(near[0], near[2])
    matrix = np.eye(60) - 0.95 * plain.normalised(weights)
    assert np.abs(np.linalg.solve(matrix, columns.double().numpy()) - found).max() > 1e-3


# Picture, crop, stride, padding's unit or None, and patches of the guide.
PLANS = [
    ((64, 84), 32, 16, None, 8),
    ((61, 75), 40, 24, 16, 16),
    ((29, 75), 40, 24, 8, 4),  # an odd number of rows of zeros
    ((40, 60), 40, 20, 56, 14),
    ((61, 75), None, None, 16, 8),
]


@pytest.mark.parametrize(("size", "crop", "stride", "padded", "unit"), PLANS, ids=str)
def test_middles_of_patches(size, crop, stride, padded, unit):
    plan = windows(size, crop, stride, 8, "symmetric" if padded else "stretch", padded)
    corners = []
    for top, left, bottom, right in plain_chain.mmseg_boxes(size, crop, stride):
        before, _, above, _ = plain_chain.symmetric_margins(bottom - top, right - left, padded or 1)
        corners.append((top - above, left - before))
    grid = tuple((axis.crop + axis.before + axis.after) // unit for axis in (plan.rows, plan.columns))
    assert np.array_equal(centres(plan, grid, unit).numpy(), plain.centres(corners, grid, unit))


def stage(unit: int = 8, **options) -> dict:
    return dict(type="LPOSS", guide=dict(type=StubGuide, unit=unit)) | options


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(stage, tail, crop, stride, **settings)`, its queries encoded."""

    def build(
        own: dict | None, tail: dict | None = None, crop: int = 32, stride: int = 16, batch: int = 16, **settings
    ) -> OpenVocabSegmentor:
        tail = tail or dict(type="MaskCLIP", residual=True, mlp=True)
        window = dict(crop=crop, stride=stride, batch=batch)
        if tail["type"] != "Trident":
            window["padding"] = "symmetric"
        model = build_segmentor(backbone=dict(tail=tail), window=window, stages=[own] if own else [], **settings)
        model.prepare()
        return model

    return build


def scores(model: OpenVocabSegmentor, *images: Tensor) -> list[Tensor]:
    """The maps (Q, H, W) of normalised pictures, given at once, at their own size."""
    return [maps.dense() for maps in maps_of(model, images, [tuple(image.shape[1:]) for image in images])]


def expected(model: OpenVocabSegmentor, image: Tensor, tiles=None, **options) -> Tensor:
    """Score maps by the published chain, from the scores of windows, or `tiles`, and the stub's values: float64."""
    guide, size, unit = model.stages[0].guide, tuple(image.shape[1:]), model.backbone.unit
    crop, stride = model.window["crop"], model.window["stride"]
    batch, corners = [], []
    for top, left, bottom, right in plain_chain.mmseg_boxes(size, crop, stride):
        margins = plain_chain.symmetric_margins(bottom - top, right - left, unit)
        batch.append(F.pad(image[:, top:bottom, left:right], margins))
        corners.append((top - margins[2], left - margins[0]))
    with torch.no_grad():
        seen = torch.stack(batch)
        tiles = model.backbone.score(seen, model.text) if tiles is None else tiles
        values = guide.values(seen * STD + MEAN)
    grid = tuple(values.shape[2:])
    own = F.interpolate(tiles.double(), grid, mode="bilinear", align_corners=False).numpy()
    places = plain.centres(corners, grid, guide.unit)
    spread, gap = plain.spread_patches(own, values.double().numpy(), places, **options)
    assert gap > ROUNDING
    return plain_chain.stitched(torch.from_numpy(spread), size, crop, stride, unit, "symmetric", size)


LAYOUTS = {
    "one": ((32, 32), 32, 16),
    "1x3 flush": ((32, 96), 32, 32),
    "1x4 shifted": ((32, 74), 32, 16),
    "2x2": ((48, 48), 32, 16),
    "2x3 shifted": ((57, 83), 32, 32),
    "oblong, padded": ((29, 76), 40, 24),
}


@pytest.mark.parametrize("neighbours", [12, 400])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_picture_equals_the_published_chain(name, neighbours, segmentor, pictures):
    size, crop, stride = LAYOUTS[name]
    model, image = segmentor(stage(neighbours=neighbours), crop=crop, stride=stride), pictures(1, *size)[0]
    (found,) = scores(model, image)
    (before,) = scores(segmentor(None, crop=crop, stride=stride), image)
    assert (found.double() - expected(model, image, k=neighbours)).abs().max() < 1e-4
    assert (found - before).abs().max() > 0.1


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (dict(power=1.0), dict(gamma=1.0)),
        (dict(sigma=0.0), dict(sigma=0.0)),
        (dict(sigma=0.1), dict(sigma=0.1)),
        (dict(alpha=0.5), dict(alpha=0.5)),
        (dict(alpha=0.0), dict(alpha=0.0)),
        (dict(steps=2), dict(steps=2)),
        (dict(neighbours=3), dict(k=3)),
    ],
    ids=str,
)
def test_options_equal_the_published_chain(options, changes, segmentor, pictures):
    model, image = segmentor(stage(**options)), pictures(1, 48, 48)[0]
    (found,), (usual,) = scores(model, image), scores(segmentor(stage()), image)
    assert (found.double() - expected(model, image, **changes)).abs().max() < 1e-4
    assert (found - usual).abs().max() > 1e-3


@pytest.mark.parametrize("unit", [4, 8, 16])
@pytest.mark.parametrize("attention", ["csa", "qk"])
def test_after_another_tail(attention, unit, segmentor, pictures):
    """With a guide that is finer, as fine and coarser than the scores, which are brought to its grid."""
    model, image = segmentor(stage(unit), dict(type="LastBlock", attention=attention)), pictures(1, 32, 48)[0]
    assert (scores(model, image)[0].double() - expected(model, image)).abs().max() < 1e-4


def test_after_a_tail_of_the_whole_picture(segmentor, pictures):
    """Trident's scores lie on one grid over the picture: they are cut into its windows."""
    guide = dict(type=StubGuide, unit=8)
    tail = dict(type="Trident", guide=guide, affinity=dict(type=StubGuide, unit=16, seed=1))
    model, image = segmentor(stage(), tail, stride=24), pictures(1, 56, 80)[0]
    sample = SegDataSample(metainfo=dict(ori_shape=(56, 80)))
    sample.original = (255 * (image * STD + MEAN)).clamp(0, 255).byte().flip(0)
    with torch.no_grad():
        picture = next(iter(model.look([image], [sample])))
        before, found = model.backbone.tail.read(picture), model.score(picture).dense()
    whole = F.interpolate(before.tiles, (56, 80), mode="bilinear", align_corners=False)[0]
    boxes = plain_chain.mmseg_boxes((56, 80), 32, 24)
    tiles = torch.stack([whole[:, top:bottom, left:right] for top, left, bottom, right in boxes])
    assert (found.double() - expected(model, image, tiles)).abs().max() < 1e-4
    assert model.backbone.tail.guide is model.stages[0].guide


@pytest.mark.parametrize("batch", [1, 5])
def test_batches_and_company_move_nothing(batch, segmentor, pictures):
    images = [pictures(1, 48, 48)[0], 0.4 * pictures(1, 48, 48, seed=1)[0] + 0.8, pictures(1, 32, 70, seed=2)[0]]
    together = scores(segmentor(stage(neighbours=20), batch=batch), *images)
    for one, image in zip(together, images, strict=True):
        torch.testing.assert_close(one, scores(segmentor(stage(neighbours=20)), image)[0], rtol=0, atol=5e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_is_finite_and_near(precision, segmentor, pictures):
    (exact,) = scores(segmentor(stage()), pictures(1, 48, 48)[0])
    model = segmentor(stage(), precision=precision)
    (found,) = scores(model, pictures(1, 48, 48)[0])
    assert model.stages[0].guide.kernel.dtype == model.backbone.dtype
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.99
    assert scores(model, torch.zeros(3, 48, 60))[0].isfinite().all()


def test_a_guide_that_shows_no_values_is_refused(segmentor, pictures):
    model = segmentor(dict(type="LPOSS", guide=dict(type=GuideWithoutValues)))
    with pytest.raises(InputError, match="GuideWithoutValues does not show its values; TimmGuide does"):
        scores(model, pictures(1, 32, 32)[0])
