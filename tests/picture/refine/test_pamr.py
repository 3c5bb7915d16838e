"""PAMR against its equation in float64 loops."""

import importlib.util
from itertools import chain

import numpy as np
import pytest
import torch
from scored import maps_of

from sclip_seg.errors import InputError
from sclip_seg.picture.refine import pamr
from sclip_seg.picture.refine import rounds as sparse
from sclip_seg.picture.refine.pamr import PAMR
from sclip_seg.registry import STEPS


def enlarged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, align_corners=False, one pixel at a time: (channels, h, w) -> (channels, height, width)."""
    out = np.empty((len(picture), height, width))

    def source(index: int, length: int, target: int) -> tuple[int, int, float]:
        at = max((index + 0.5) * length / target - 0.5, 0.0)
        low = min(int(at), length - 1)
        return low, min(low + 1, length - 1), at - low

    for row in range(height):
        top, bottom, down = source(row, picture.shape[1], height)
        for column in range(width):
            left, right, across = source(column, picture.shape[2], width)
            above = (1 - across) * picture[:, top, left] + across * picture[:, top, right]
            below = (1 - across) * picture[:, bottom, left] + across * picture[:, bottom, right]
            out[:, row, column] = (1 - down) * above + down * below
    return out


def by_the_equation(scores: np.ndarray, picture: np.ndarray, steps: int, dilations: tuple[int, ...]) -> np.ndarray:
    """m <- Σ_o w_o m(u + o), w = softmax_o mean_ch(-|x(u) - x(u + o)| / (1e-8 + 0.1 σ)), borders replicated."""
    _, height, width = scores.shape
    x = enlarged(picture, height, width)
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

    def at(maps: np.ndarray, row: int, column: int) -> np.ndarray:
        return maps[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

    weights = {}
    for row in range(height):
        for column in range(width):
            places = [(row + d * dy, column + d * dx) for d in dilations for dy, dx in around]
            sigma = np.std([at(x, *place) for place in places], axis=0, ddof=1)
            neighbours = [place for place in places if place != (row, column)]
            near = [-(abs(x[:, row, column] - at(x, *p)) / (1e-8 + 0.1 * sigma)).mean() for p in neighbours]
            power = np.exp(near - np.max(near))
            weights[row, column] = list(zip(neighbours, power / power.sum(), strict=True))
    for _ in range(steps):
        refined = np.zeros_like(scores)
        for (row, column), terms in weights.items():
            for place, weight in terms:
                refined[:, row, column] += weight * at(scores, *place)
        scores = refined
    return scores


def inputs(queries: int, size: tuple[int, int], picture: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(queries, *size, generator=generator), torch.randn(3, *picture, generator=generator)


@pytest.mark.parametrize(
    ("steps", "dilations", "size", "picture"),
    [
        (1, (1,), (7, 9), (7, 9)),
        (3, (1, 2), (9, 6), (5, 4)),
        (2, (8, 16), (12, 19), (6, 10)),
        (2, (1, 3), (6, 5), (12, 9)),
    ],
    ids=str,
)
def test_pamr_is_its_equation(steps, dilations, size, picture):
    scores, image = inputs(3, size, picture)
    refined = PAMR(steps, dilations)(scores, image)
    expected = by_the_equation(scores.double().numpy(), image.double().numpy(), steps, dilations)
    np.testing.assert_allclose(refined.numpy(), expected, rtol=0, atol=1e-4)
    assert refined.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("chunk", [1, 3 * 4 * 12 * 10 * 2])
def test_chunks_change_nothing(chunk, dtype, monkeypatch):
    scores, image = inputs(37, (12, 10), (8, 8))
    whole = PAMR(4, (1, 2))(scores.to(dtype), image)
    monkeypatch.setattr(pamr, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(sparse, "TABLE_BYTES", chunk)
    assert torch.equal(PAMR(4, (1, 2))(scores.to(dtype), image), whole)


@pytest.mark.parametrize(
    ("queries", "size", "steps", "dilations"),
    [
        (70, (41, 57), 10, (8, 16)),
        (3, (64, 48), 10, (8, 16)),
        (5, (33, 40), 3, (4, 8, 16)),
        (2, (20, 31), 4, (2, 3)),
        (4, (60, 70), 2, (300,)),
        (2, (9, 17), 3, (8,)),
        (2, (1, 30), 3, (2,)),
        (2, (30, 1), 3, (2,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("flat", [False, True], ids=["noise", "flat"])
def test_row_classes_are_the_plain_rounds(queries, size, steps, dilations, flat):
    scores, guide = inputs(queries, size, size)
    guide = (guide > 0).float() if flat else guide
    step = PAMR(steps, dilations)
    by_class = sparse.rounds(scores, steps, step.offsets, lambda rows: step.affinity(guide, rows))
    torch.testing.assert_close(by_class, step.plain(scores, guide), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("queries", "size", "steps", "dilations"), [(3, (18, 15), 2, (8, 16)), (2, (1, 30), 2, (2,))])
@pytest.mark.parametrize("flat", [False, True], ids=["noise", "flat"])
def test_the_kernels_of_a_gpu_are_the_plain_rounds(queries, size, steps, dilations, flat, monkeypatch):
    """Triton's interpreter runs them here; it is asked for when a kernel is defined, so the module is loaded anew."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    spec = importlib.util.find_spec("sclip_seg.picture.refine.fused")
    fused = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fused)
    scores, guide = inputs(queries, size, size)
    if flat:  # with soft edges, whose spread is all rounding
        guide = torch.nn.functional.interpolate((guide[None, :, :5, :5] > 0).float(), size, mode="bilinear")[0]
    step, given = PAMR(steps, dilations), scores.clone()
    by_kernel = fused.rounds(scores, guide, steps, step.offsets, centres=len(dilations))
    torch.testing.assert_close(by_kernel, step.plain(scores, guide), rtol=0, atol=1e-6)
    assert torch.equal(scores, given), "the maps that were handed in were written"


@pytest.mark.parametrize("height", [1, 2, 7, 8, 9, 16, 33])
@pytest.mark.parametrize("apart", [1, 2, 8, 40])
def test_row_classes_hold_each_row_once_and_the_borders_first(height, apart):
    classes = [[row for some in rows for row in range(height)[some]] for rows in sparse.row_classes(height, apart)]
    assert sorted(chain.from_iterable(classes)) == list(range(height))
    assert {0, height - 1} <= set(classes[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_types_keep_theirs(dtype):
    scores, image = inputs(2, (20, 17), (10, 9))
    refined = PAMR(2)(scores.to(dtype), image)
    assert refined.dtype == dtype
    torch.testing.assert_close(refined.float(), PAMR(2)(scores, image), rtol=0, atol=3e-2)


def test_gradients_pass():
    scores, image = inputs(2, (20, 17), (10, 9))
    refined = PAMR(2)(scores.requires_grad_(), image)
    refined.sum().backward()
    assert scores.grad.sum().item() == pytest.approx(scores.numel(), rel=1e-4)  # of weights that sum to 1


def test_flat_colours_are_refined_alike_on_one_thread_and_on_several():
    scores, _ = inputs(2, (60, 80), (60, 80))
    image = torch.tensor([-1.3, 0.7, 1.9]).view(3, 1, 1).expand(3, 67, 90).contiguous()
    image[:, 20:40, 30:60] = torch.tensor([0.4, -0.9, 0.1]).view(3, 1, 1)
    before, refined = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            refined.append(PAMR(10)(scores, image))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*refined, rtol=0, atol=1e-6)


def test_it_is_linear_and_keeps_constants():
    scores, image = inputs(2, (10, 11), (10, 11))
    step = PAMR(3, (1, 2))
    torch.testing.assert_close(step(2 * scores - 1, image), 2 * step(scores, image) - 1, rtol=0, atol=1e-5)
    assert (step(scores, image) - scores).abs().max() > 0.1


def test_a_blank_picture_averages_evenly():
    scores, _ = inputs(2, (6, 6), (6, 6))
    refined = PAMR(1, (1,))(scores, torch.ones(3, 6, 6))
    block = scores[:, 1:4, 1:4]
    expected = (block.sum((1, 2)) - scores[:, 2, 2]) / 8  # the centre itself has no part
    torch.testing.assert_close(refined[:, 2, 2], expected)


def test_the_inputs_stay_as_they_are():
    scores, image = inputs(2, (6, 7), (6, 7))
    before = scores.clone(), image.clone()
    PAMR(2, (1,))(scores, image)
    assert torch.equal(scores, before[0])
    assert torch.equal(image, before[1])


@pytest.mark.parametrize("settings", [dict(steps=0), dict(dilations=()), dict(dilations=(8, 0))], ids=str)
def test_settings_that_refine_nothing_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        STEPS.build(dict(type="PAMR") | settings)


def test_the_segmentor_refines_the_cosines_before_the_softmax(build_segmentor, pictures):
    settings = dict(keep_scores=True, logit_scale=10.0)
    plain, refining = build_segmentor(**settings), build_segmentor(**settings, refine=[dict(type="PAMR", steps=2)])
    picture = pictures(1, 32, 40)[0]
    plain.prepare()
    [stitched] = maps_of(plain, [picture], [(32, 40)])
    maps = PAMR(2)(stitched.dense(), picture)
    probability = (10.0 * maps).softmax(0)
    expected = torch.stack([probability[plain.text.owner == index].amax(0) for index in range(4)])
    [result] = refining.predict([picture])
    torch.testing.assert_close(result.seg_logits.data, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(plain.predict([picture])[0].seg_logits.data, expected, atol=1e-3)
