"""`Predictor.attention`: which window and which patch a point of a picture is in, and the patch's row of weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray as Array
from stub_guide import StubGuide

from sclip_seg.errors import InputError
from sclip_seg.show.predictor import Predictor

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's


@pytest.fixture(scope="module")
def predictor(build_segmentor):
    """Windows of 32 pixels, 16 apart, over pictures at their own size; csa."""
    return Predictor(build_segmentor())


def drawn(height: int, width: int) -> Array:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def starts(side: int) -> list[int]:
    """Of windows of 32 pixels, 16 apart, the last one ending with the side."""
    return sorted({min(start, max(side - 32, 0)) for start in range(0, max(side - 32, 0) + 16, 16)})


def check_place(row, shape: tuple[int, int], point: tuple[int, int], whole: bool = False) -> None:
    """The window holds the point and no other's middle is nearer; the cell's box holds it."""
    window, cell = np.array(row.window).reshape(2, 2), np.array(row.cell)
    centre = np.array(point) + 0.5
    lengths = np.array([side if whole else min(side, 32) for side in shape])
    assert row.point == point
    assert (window[0] < centre).all()
    assert (centre < window[1]).all()
    np.testing.assert_allclose(window[1] - window[0], lengths)
    assert row.rows.shape == (4, *(lengths // 8))
    sides = lengths / row.rows.shape[1:]
    assert (window[0] + cell * sides <= centre).all()
    assert (centre <= window[0] + (cell + 1) * sides).all()
    if not whole:
        middles = [[start + length / 2 for start in starts(side)] for side, length in zip(shape, lengths, strict=True)]
        nearest = [min(abs(middle - at) for middle in axis) for axis, at in zip(middles, centre, strict=True)]
        np.testing.assert_allclose(abs(window.mean(0) - centre), nearest)


@given(st.data())
def test_window_and_cell_hold_the_point(predictor, data):
    height, width = (data.draw(st.integers(8, 75), side) for side in ("height", "width"))
    point = (data.draw(st.integers(0, height - 1), "y"), data.draw(st.integers(0, width - 1), "x"))
    whole = data.draw(st.booleans(), "whole")
    (row,) = predictor.attention(drawn(height, width), [point], whole=whole)
    check_place(row, (height, width), point, whole)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_places_are_those_of_the_picture_when_it_is_resized(factor, build_segmentor):
    """A picture read at another size: windows are cut there, and told in the picture's own pixels."""
    seg = Predictor(build_segmentor(short_side=int(48 * factor)))
    (row,) = seg.attention(drawn(48, 96), [(40, 70)])
    window, cell, centre = np.array(row.window).reshape(2, 2), np.array(row.cell), np.array([40.5, 70.5])
    np.testing.assert_allclose(window[1] - window[0], 32 / factor)
    for start, side in zip(window[0] * factor, (48 * factor, 96 * factor), strict=True):
        assert round(start, 6) in starts(int(side))
    assert (window[0] + cell * 8 / factor <= centre).all()
    assert (centre <= window[0] + (cell + 1) * 8 / factor).all()


@pytest.mark.parametrize("whole", [False, True])
def test_the_grid_lies_over_the_padding_too(whole, build_segmentor):
    """45 x 61 pixels in windows padded to multiples of 8: each cell has 8 pixels of the area and holds its point."""
    seg = Predictor(build_segmentor(window=dict(crop=30, stride=15, padding="symmetric")))
    for point in [(0, 0), (44, 60), (7, 9), (22, 31), (40, 3)]:
        (row,) = seg.attention(drawn(45, 61), [point], whole=whole)
        window, area, centre = (
            np.array(row.window).reshape(2, 2),
            np.array(row.area).reshape(2, 2),
            np.array(point) + 0.5,
        )
        np.testing.assert_allclose(area.mean(0), window.mean(0), atol=0.5)
        np.testing.assert_allclose(area[1] - area[0], 8 * np.array(row.rows.shape[1:]))
        assert (area[0] + 8 * np.array(row.cell) <= centre).all()
        assert (centre <= area[0] + 8 * (np.array(row.cell) + 1)).all()


def test_patches_and_class_token_make_up_the_row(predictor):
    (row,) = predictor.attention(drawn(40, 40), [(20, 20)])
    np.testing.assert_allclose(row.rows.sum((1, 2)) + row.class_token, 2, atol=1e-5)  # csa's


def test_points_of_one_window_share_its_way_through_the_trunk(predictor, monkeypatch):
    calls, dense = [], predictor.model.backbone
    trace = dense.trace
    monkeypatch.setattr(dense, "trace", lambda *given: calls.append(1) or trace(*given))
    alone = [predictor.attention(drawn(40, 40), [point])[0] for point in [(1, 1), (2, 9), (38, 38)]]
    assert len(calls) == 3
    together = predictor.attention(drawn(40, 40), [(1, 1), (2, 9), (38, 38)])
    assert len(calls) == 5
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)


def test_nothing_is_encoded_where_no_words_are_asked_for(build_segmentor, monkeypatch):
    monkeypatch.setattr("sclip_seg.words.text.encode_prompts", lambda *_: pytest.fail("words were encoded"))
    (row,) = Predictor(build_segmentor(), has_words=False).attention(drawn(40, 40), [(20, 20)])
    assert row.rows.shape == (4, 4, 4)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("block", [-1, 0])
def test_rows_are_those_of_the_window_cut_by_hand(block, whole, predictor):
    picture, seg = drawn(45, 60), predictor
    statistics = (np.round(255 * np.array(one), 3) for one in (MEAN, STD))
    mean, std = (one.astype(np.float32) for one in statistics)
    for row in seg.attention(picture, [(0, 0), (44, 59), (20, 31)], block, whole):
        top, left, bottom, right = (int(edge) for edge in row.window)
        window = torch.from_numpy((picture[top:bottom, left:right] - mean) / std).float().permute(2, 0, 1)[None]
        weights = seg.model.backbone.attention_maps(window, seg.model.text, block).weights[0]
        _, height, width = row.rows.shape
        token = 1 + row.cell[0] * width + row.cell[1]
        expected = weights[:, token, 1:].reshape(4, height, width).numpy()
        np.testing.assert_allclose(row.rows, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("point", [(-1, 0), (0, -1), (30, 0), (0, 40)])
def test_a_point_outside_is_named(point, predictor):
    with pytest.raises(InputError, match=rf"x={point[1]}, y={point[0]} lies outside .* 40 wide and 30 high"):
        predictor.attention(drawn(30, 40), [(3, 3), point])


def test_a_block_that_is_not_there_is_named(predictor):
    with pytest.raises(InputError, match="block 4 is asked for, and the tower has 4"):
        predictor.attention(drawn(30, 40), [(3, 3)], block=4)


def test_state_before_the_first_block_is_no_block(predictor):
    for block in (-5, -6):
        with pytest.raises(InputError, match=f"block {block} is asked for, and the tower has 4"):
            predictor.attention(drawn(30, 40), [(3, 3)], block=block)


GLA = dict(type="GLACLIP", guide=dict(type=StubGuide), rho=0.9)
TRIDENT = dict(type="Trident", guide=dict(type=StubGuide), affinity=dict(type=StubGuide, unit=16, seed=1))
ACROSS = pytest.mark.parametrize("tail", [GLA, TRIDENT, TRIDENT | dict(halves=True)], ids=["gla", "trident", "halves"])


@ACROSS
@pytest.mark.parametrize("short_side", [None, 40])
def test_a_method_that_looks_across_shows_all_windows(tail, short_side, build_segmentor):
    """Its own weights, over the windows' places in the picture; the point's own window is one of them."""
    picture, points = drawn(55, 72), [(0, 0), (54, 71), (30, 40), (12, 60)]
    seg = Predictor(build_segmentor(backbone=dict(tail=tail), short_side=short_side), has_words=False)
    inputs, samples = seg.model.data_preprocessor.of_pictures([np.ascontiguousarray(picture[..., ::-1])])
    (looked,) = seg.model.look(inputs, samples)
    scale = np.array(picture.shape[:2]) / looked.fitted.shape[1:]
    for row, point in zip(seg.attention(picture, points), points, strict=True):
        assert row.point == point
        assert row.class_token is None
        assert row.seen is row.across
        y, x = (np.array(point) + 0.5) / scale
        with torch.no_grad():
            expected = seg.model.backbone.tail.attention_across(looked, y, x)
        np.testing.assert_array_equal(np.stack([part.rows for part in row.across]), expected)
        np.testing.assert_allclose(sum(part.rows.sum() for part in row.across), 1, atol=1e-5)
        boxes = np.array(looked.plan.boxes()) * np.tile(scale, 2)
        np.testing.assert_allclose([part.window for part in row.across], boxes)
        np.testing.assert_allclose([part.area for part in row.across], boxes)
        (own,) = [part for part in row.across if part.window == row.window]
        assert own.rows is row.rows
        assert own.area == row.area
        far = abs(boxes[:, :2] + boxes[:, 2:] - 2 * (np.array(point) + 0.5)) / scale
        assert own is row.across[(far**2).sum(1).argmin()]
        corner, sides = np.array(row.area[:2]), np.array(row.area[2:]) - row.area[:2]
        assert (corner + np.array(row.cell) * sides / row.rows.shape[1:] <= np.array(point) + 0.5).all()
        assert (np.array(point) + 0.5 <= corner + (np.array(row.cell) + 1) * sides / row.rows.shape[1:]).all()


def test_windows_across_within_their_padding(build_segmentor):
    window = dict(crop=30, stride=15, padding="symmetric")
    seg = Predictor(build_segmentor(backbone=dict(tail=GLA), window=window), has_words=False)
    (row,) = seg.attention(drawn(45, 61), [(20, 30)])
    for part in row.across:
        np.testing.assert_allclose(np.array(part.window) - part.area, [1, 1, -1, -1])


@ACROSS
@pytest.mark.parametrize(("block", "whole"), [(-1, True), (-2, False), (0, False), (3, True)])
def test_in_one_window_or_before_the_last_block_nothing_lies_across(tail, block, whole, build_segmentor):
    seg = Predictor(build_segmentor(backbone=dict(tail=tail)), has_words=False)
    (row,) = seg.attention(drawn(48, 64), [(20, 30)], block, whole)
    assert row.across == ()
    assert row.seen[0].rows is row.rows
    class_token = 0 if row.class_token is None else row.class_token
    np.testing.assert_allclose(row.rows.sum((1, 2)) + class_token, 1, atol=1e-5)


@ACROSS
def test_the_last_block_by_its_number(tail, build_segmentor):
    seg = Predictor(build_segmentor(backbone=dict(tail=tail)), has_words=False)
    one, other = (seg.attention(drawn(48, 64), [(20, 30)], block)[0] for block in (-1, 3))
    np.testing.assert_array_equal(one.rows, other.rows)
    assert len(one.across) == len(other.across) == 6


@ACROSS
def test_points_share_the_windows_way_through_the_trunk(tail, build_segmentor, monkeypatch):
    seg = Predictor(build_segmentor(backbone=dict(tail=tail)), has_words=False)
    calls, trace = [], seg.model.backbone.trace
    monkeypatch.setattr(seg.model.backbone, "trace", lambda *given: calls.append(len(given[0])) or trace(*given))
    assert seg.attention(drawn(48, 64), []) == []
    assert calls == []
    seg.attention(drawn(48, 64), [(1, 1), (20, 30), (47, 63)])
    assert calls == [6]  # a batch of all windows


def test_words_of_before_play_no_part(build_segmentor):
    seg = Predictor(build_segmentor(backbone=dict(tail=GLA)))
    (asked,) = seg.attention(drawn(48, 64), [(20, 30)])
    seg.forget_words()
    (bare,) = seg.attention(drawn(48, 64), [(20, 30)])
    np.testing.assert_array_equal(asked.rows, bare.rows)
