"""PEARL's aligned keys beside their scalar form, and its propagation beside loops and a dense solve."""

import formulas_pearl as plain
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from runs import cell
from scored import maps_of
from surfaces import normalised, surfaces
from torch import Tensor

from sclip_seg.methods.pearl import Diffusion, LaplacianPropagation, aligned, edges, grey_cells, rotation
from sclip_seg.picture.scores import DenseMaps
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.window import Banded, windows

STEP = dict(type="LaplacianPropagation")
TAIL = dict(type="LastBlock", attention="pearl", residual=False, mlp=False)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scene(height: int, width: int) -> Tensor:
    """Normalised, of surfaces that are a little uneven: among pixels all unlike, rounding grows from step to step."""
    return normalised(surfaces(height, width, noise=0.05))


@pytest.mark.parametrize("steps", [1, 2, 5, 10, None])
def test_the_rotation_is_that_of_the_singular_values(steps):
    moment = drawn(2, 3, 16, 16) * torch.linspace(1, 0.05, 16)
    found = rotation(moment, steps)
    expected = np.stack([[plain.rotation(head, steps) for head in window] for window in moment.double().numpy()])
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=2e-4 if steps is None else 1e-5)


def test_five_steps_are_not_the_orthogonal_factor():
    moment = drawn(1, 1, 16, 16) * torch.linspace(1, 0.01, 16)
    values = torch.linalg.svdvals(rotation(moment, 5)).flatten()
    assert values[0] > 0.95
    assert values[-1] < 0.1
    torch.testing.assert_close(torch.linalg.svdvals(rotation(moment, None)).flatten(), torch.ones(16))


def test_keys_of_one_kind_have_a_finite_rotation():
    """No moment at all."""
    assert not rotation(torch.zeros(1, 2, 8, 8), 5).any()
    assert rotation(torch.zeros(1, 2, 8, 8), None).isfinite().all()


def test_the_class_token_has_no_weight_and_a_part_in_the_moment(build_dense, pictures):
    t = build_dense(TAIL).trace(pictures(1, 24, 40)).qkv(-1)
    queries, keys, moment = (part[0].double().numpy() for part in aligned(t))
    for head, (q, k) in enumerate(zip(t.q[0].double().numpy(), t.k[0].double().numpy(), strict=True)):
        expected, m = plain.aligned(q, k)
        np.testing.assert_allclose(keys[head], expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(moment[head], m, rtol=0, atol=1e-4)
    norms = np.linalg.norm(t.q[0, :, 1:].double().numpy(), axis=-1)[..., None]
    assert abs((norms * queries[:, 1:]).sum(1)).max() < 1e-3
    assert abs((norms * keys[:, 1:]).sum(1)).max() < 1e-3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("options", [dict(), dict(alpha=0.3), dict(steps=None)], ids=str)
def test_lower_precision_is_near(options, precision, build_dense, pictures):
    image, tail = pictures(2, 32, 48), TAIL | dict(attention=dict(type="pearl") | options)
    exact, rounded = build_dense(tail), build_dense(tail)
    rounded.set_precision(precision)
    features = rounded(image)
    assert features.dtype == rounded.dtype
    assert F.cosine_similarity(features.float(), exact(image), dim=1).min() > 0.99


def test_options_move_features(build_dense, pictures):
    image = pictures(1, 32, 48)
    first, *others = (
        F.normalize(build_dense(TAIL | dict(attention=dict(type="pearl") | options))(image), dim=1)
        for options in (dict(), dict(alpha=0.3), dict(alpha=0.0), dict(steps=4), dict(steps=None))
    )
    assert all((other - first).abs().max() > 1e-3 for other in others)


def test_the_grid_and_the_constants_of_the_benchmarks():
    """As the official configs have them; the tail's are among what methods tune."""
    for dataset in ("voc21", "voc20", "context60", "context59", "coco_object", "coco_stuff164k", "ade20k"):
        (step,) = cell("pearl", dataset).model.refine
        assert step.grid == 80
    assert cell("pearl", "cityscapes").model.refine[0].grid == 224


# Maps' size (H, W), grid, factors.
SIZES = [
    ((12, 15), 80, (1, 1)),
    ((17, 23), 7, (2, 3)),
    ((25, 10), 10, (2, 1)),  # 2.5 becomes 2
    ((13, 31), 8, (2, 4)),
    ((6, 21), 80, (1, 1)),
]


def case(size: tuple[int, int], queries: int, factors: tuple[int, int] = (1, 1), text: bool = True):
    """Cosines (Q, h, w), grey (h, w), s; and D and Λ_w by the formula, of them as they are rounded."""
    start = DenseMaps(0.3 * drawn(queries, *size)).cells(factors)
    grey = grey_cells(scene(*size), size, factors)
    own = torch.from_numpy(plain.own_similarity(drawn(queries, 9, seed=2).double().numpy())).float() if text else None
    doubled = (part.double().numpy() for part in (start, grey))
    return (start, grey, own), plain.system(*doubled, None if own is None else own.double().numpy())


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("queries", [2, 30])
@pytest.mark.parametrize(("size", "grid", "factors"), SIZES, ids=str)
def test_the_system_equals_the_formula(size, grid, factors, queries, text):
    assert LaplacianPropagation(grid).factors(size) == plain.factors(size, grid) == factors
    parts, (data, graph) = case(size, queries, factors, text)
    system = Diffusion.of(*parts)
    np.testing.assert_allclose(system.data.flatten().double().numpy(), data, rtol=1e-5)
    one = torch.eye(len(data)).view(-1, *system.start.shape[1:])
    found = system.laplacian(one).flatten(1)
    np.testing.assert_allclose(found.double().numpy(), graph, rtol=0, atol=2e-5)
    product = system.product(one).flatten(1) - found
    np.testing.assert_allclose(product.double().numpy(), np.diag(data), rtol=0, atol=1e-6)


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("queries", [2, 30])
@pytest.mark.parametrize("steps", [1, 8, 25])
def test_the_solution_equals_the_formula(steps, queries, text):
    """In float64 to its rounding; in fp32 that of a stiff system with cosines of noise grows with the steps."""
    (start, grey, own), system = case((24, 20), queries, text=text)
    expected = plain.solve(*system, start.double().numpy(), steps)
    doubled = (None if part is None else part.double() for part in (start, grey, own))
    np.testing.assert_allclose(Diffusion.of(*doubled).solve(steps).numpy(), expected, rtol=0, atol=2e-6)
    found = Diffusion.of(start, grey, own).solve(steps)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=1e-2 if steps == 25 else 2e-5)


@pytest.mark.parametrize("queries", [2, 30])
def test_many_steps_reach_the_dense_solution_and_25_do_not(queries):
    (start, grey, own), system = case((14, 18), queries)
    exact = plain.solve(*system, start.double().numpy(), None)
    many, few = (abs(Diffusion.of(start, grey, own).solve(steps).double().numpy() - exact).max() for steps in (400, 25))
    assert many < 1e-3
    assert (few > 5 * many) == (queries == 30)


def test_the_data_s_weight_is_at_its_floor_with_many_queries():
    """So that the text does not act: nothing of a query's words is seen in 30 of them."""
    maps, grey = 0.05 * drawn(30, 9, 9), drawn(9, 9, seed=1)
    with_text, without = (Diffusion.of(maps, grey, own) for own in (torch.full((30,), 0.95), None))
    assert without.data.unique().tolist() == pytest.approx([0.0025])
    assert (with_text.data / without.data).max() < 1.04
    assert (with_text.solve(25) - without.solve(25)).abs().max() < 2e-3


def test_queries_share_their_steps():
    """What is given to one query alone is another solution."""
    maps, grey = 0.2 * drawn(30, 12, 12), drawn(12, 12, seed=1)
    together = Diffusion.of(maps, grey, None)
    alone = Diffusion(maps[:1], together.data, together.across, together.down).solve(25)
    assert (together.solve(25)[:1] - alone).abs().max() > 1e-3


def test_a_picture_without_edges_or_neighbours():
    start = drawn(3, 5, 6)
    even = Diffusion.of(start, torch.full((5, 6), 0.7), None)
    assert (even.across == 1).all()
    assert (even.down == 1).all()
    for size in ((1, 6), (5, 1), (1, 1)):
        lone = Diffusion.of(drawn(3, *size), drawn(*size, seed=1), torch.ones(3))
        assert lone.solve(25).isfinite().all()
    assert torch.equal(lone.solve(25), lone.start)
    assert edges(torch.empty(4, 0), 0.0).shape == (4, 0)


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(refine, **settings)`: PEARL, its queries encoded."""

    def build(refine: list, **settings) -> OpenVocabSegmentor:
        model = build_segmentor(backbone=dict(tail=TAIL), refine=refine, **settings)
        model.prepare()
        return model

    return build


@torch.no_grad()
def refined(model: OpenVocabSegmentor, images: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """The maps (Q, H, W) of normalised pictures, given at once, after the steps on them, at `size`."""
    samples = [dict(ori_shape=size) for _ in images]
    return [model.refine(model.score(seen), seen).dense() for seen in model.look(images, samples)]


@pytest.mark.parametrize("options", [dict(), dict(grid=20), dict(grid=9), dict(steps=3), dict(text=False)], ids=str)
@pytest.mark.parametrize(("seen", "size"), [((28, 40), (33, 47)), ((32, 32), (32, 32)), ((40, 24), (61, 38))], ids=str)
def test_maps_are_propagated_at_the_labels_size(seen, size, options, segmentor):
    """And enlarged bilinearly over all of it, though a few rows and columns had no cell."""
    image, model = normalised(surfaces(*seen)), segmentor([STEP | options])
    (found,) = refined(model, [image], size)
    (before,) = maps_of(segmentor([]), [image], [size])
    own = {key: value for key, value in options.items() if key != "text"}
    words = model.text.features.double().numpy() if options.get("text", True) else None
    enlarged = plain_chain.resize(image.double(), size).numpy()
    cells, _ = plain.propagated(before.dense().double().numpy(), enlarged, words, **own)
    expected = plain_chain.resize(torch.from_numpy(cells), size)
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() < 2e-4
    assert (found - before.dense()).abs().max() > 1e-2


def test_pictures_are_each_alone(segmentor):
    model = segmentor([STEP | dict(grid=20)])
    images = [normalised(surfaces(28, 40)), normalised(surfaces(28, 40, seed=1)), normalised(surfaces(40, 24, seed=2))]
    for image, found in zip(images, refined(model, images, (33, 47)), strict=True):
        torch.testing.assert_close(found, refined(model, [image], (33, 47))[0], rtol=0, atol=2e-5)


def test_the_step_takes_maps_that_are_held_whole(segmentor):
    """After PAMR."""
    image, size = normalised(surfaces(28, 40)), (56, 80)
    pamr = dict(type="PAMR", steps=1, dilations=(1,))
    (whole,) = refined(segmentor([pamr]), [image], size)
    model = segmentor([pamr, STEP | dict(grid=20)])
    (found,) = refined(model, [image], size)
    enlarged = plain_chain.resize(image.double(), size).numpy()
    cells, factors = plain.propagated(whole.double().numpy(), enlarged, model.text.features.double().numpy(), 20)
    assert factors == (3, 4)
    assert (found.double() - plain_chain.resize(torch.from_numpy(cells), size)).abs().max() < 2e-4


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_a_blank_picture_is_finite(colour, segmentor):
    (found,) = refined(segmentor([STEP]), [normalised(torch.full((3, 28, 40), colour))], (33, 47))
    assert found.isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_scores_stay_in_fp32(precision, segmentor):
    image, size = normalised(surfaces(28, 40)), (33, 47)
    (exact,), (rounded,) = (refined(segmentor([STEP], precision=p), [image], size) for p in ("fp32", precision))
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.05


@pytest.mark.parametrize("factors", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("banded", [False, True])
def test_cells_of_stitched_maps_are_those_of_whole_ones(banded, factors, segmentor, monkeypatch):
    monkeypatch.setattr("sclip_seg.picture.window.LARGEST", 10 if banded else 2**24)
    (maps,) = maps_of(segmentor([]), [drawn(3, 40, 56)], [(43, 61)])
    assert isinstance(maps.rows, Banded) == banded
    expected = plain.cells(maps.dense().double().numpy(), factors)
    np.testing.assert_allclose(maps.cells(factors).double().numpy(), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(DenseMaps(maps.dense()).cells(factors).numpy(), expected, rtol=0, atol=1e-6)


def test_windows_of_voc_are_the_whole_picture():
    window = cell("pearl", "voc20").model.window
    assert len(windows((336, 500), window.crop, window.stride, 16, "stretch", 16).boxes()) == 1
