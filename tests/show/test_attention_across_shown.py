"""What a point looks at in all windows, as it is drawn, told, stored and shown on the page."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray as Array
from PIL import Image

import sclip_seg
from sclip_seg.show import attention_command as tool
from sclip_seg.show import heat as drawing
from sclip_seg.show.app.session import Session, Wish
from sclip_seg.show.attention_row import AttentionRow, WindowWeights
from sclip_seg.toy.make import evaluation_scene

GREY = np.full((60, 80, 3), 100, np.uint8)
LEFT, RIGHT = (0, 0, 60, 48), (0, 32, 60, 80)
EMPTY = (drawing.OPACITY * drawing.COLOURS[0] + (1 - drawing.OPACITY) * 100).round().astype(int)
DIMMED = 45  # both of GREY: of no weight, and beside what is looked at


def row(parts: list[tuple[Array, tuple]], point=(5, 5), own: int = 0) -> AttentionRow:
    """Weights (h, w) over windows, the point in one of them."""
    across = tuple(WindowWeights(weights[None].astype(np.float32), window, window) for weights, window in parts)
    part = across[own]
    return AttentionRow(part.rows, None, part.window, part.area, point, (0, 0), across)


def dot(y: int, x: int) -> Array:
    weights = np.zeros((6, 6))
    weights[y, x] = 1
    return weights


def test_a_weight_in_another_window_is_seen_there():
    drawn = drawing.heat(GREY, row([(np.zeros((6, 6)), LEFT), (dot(3, 4), RIGHT)]))
    light = drawn.astype(int).sum(2)
    inside = light[2:-2, 50:-2]  # off the frame and the ring
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    assert abs(y + 2.5 - 35) <= 1
    assert abs(x + 50.5 - (32 + 36)) <= 1
    assert (drawn[50:58, 2:30] == EMPTY).all()  # looked at, and of no weight
    assert (drawn[59, :48] == 255).all()  # the point's window is framed, the other is not
    assert (drawn[:, 79] < 255).all()


def test_nothing_that_is_looked_at_is_dimmed():
    narrow = row([(dot(1, 1), (0, 0, 60, 20)), (dot(2, 2), (0, 50, 60, 70))])
    drawn = drawing.heat(GREY, narrow)
    assert (drawn[2:-2, 20:50] == DIMMED).all()
    assert (drawn[:, 70:] == DIMMED).all()
    assert (drawn[50:58, 52:68] == EMPTY).all()


def test_where_windows_overlap_their_weights_add_up():
    both = row([(np.full((6, 6), 0.25), LEFT), (np.full((6, 6), 0.5), RIGHT)])
    y, x = np.arange(60) + 0.5, np.arange(80) + 0.5
    total = drawing.summed(both, None, y, x)
    np.testing.assert_allclose(total[:, :32], 0.25)
    np.testing.assert_allclose(total[:, 32:48], 0.75)
    np.testing.assert_allclose(total[:, 48:], 0.5)
    assert drawing.largest(both) == 0.75
    drawn = drawing.heat(np.zeros_like(GREY), both)
    for column, share in ((25, 1 / 3), (40, 1.0), (70, 2 / 3)):
        colour = drawing.COLOURS[round(255 * share)]
        assert drawn[40, column].tolist() == (drawing.OPACITY * colour).round().astype(int).tolist()


def test_tokens_at_one_place_add_up_to_the_largest():
    """The two windows' patches lie on each other: 0.3 and 0.4 at one place are more than 0.6 at another."""
    left, right = 0.3 * dot(2, 4), 0.4 * dot(2, 0) + 0.6 * dot(4, 4)
    assert drawing.largest(row([(left, LEFT), (right, RIGHT)])) == pytest.approx(0.7)


def by_hand(parts: list, y: float, x: float) -> float:
    """Bilinear in each window that holds the place, level beyond the outer middles."""
    total = 0.0
    for weights, (top, left, bottom, right) in parts:
        if top <= y < bottom and left <= x < right:
            height, width = weights.shape
            rows = top + (np.arange(height) + 0.5) * (bottom - top) / height
            columns = left + (np.arange(width) + 0.5) * (right - left) / width
            total += np.interp(y, rows, [np.interp(x, columns, line) for line in weights])
    return total


@given(st.data())
def test_the_sum_is_that_of_every_window_by_itself(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 999), "seed"))
    parts = []
    for _ in range(data.draw(st.integers(1, 4), "windows")):
        top, left = data.draw(st.integers(0, 20), "top"), data.draw(st.integers(0, 20), "left")
        sides = data.draw(st.integers(1, 20), "height"), data.draw(st.integers(1, 20), "width")
        grid = data.draw(st.integers(1, 5), "rows"), data.draw(st.integers(1, 5), "columns")
        parts.append((generator.random(grid), (top, left, top + sides[0], left + sides[1])))
    y, x = np.arange(40) + 0.5, np.arange(40) + 0.5
    expected = [[by_hand(parts, at, across) for across in x] for at in y]
    np.testing.assert_allclose(drawing.summed(row(parts), None, y, x), expected, rtol=0, atol=1e-5)


def test_all_windows_are_brought_to_panel_size():
    small, (moved,) = drawing.at_panel_size(GREY, [row([(dot(1, 1), LEFT), (dot(3, 4), RIGHT)])], 2)
    assert small.shape == (360, 480, 3)
    assert [part.window for part in moved.across] == [part.area for part in moved.across]
    assert moved.across[1].window == (0, 32 * 6, 360, 480)
    assert drawing.largest(moved) == pytest.approx(1.0)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A working folder with scene.png; the picture as an array."""
    monkeypatch.chdir(tmp_path)
    pixels = evaluation_scene(0, 0).image
    Image.fromarray(pixels).save("scene.png")
    return pixels


@pytest.mark.parametrize("method", ["gla_clip", "trident"])
def test_what_is_told_and_stored_is_of_all_windows(method, scene, capsys):
    arguments = ("--points", "40,60", "--methods", "sclip", method, "--npz", "--backbone", "toy")
    assert tool.main(["scene.png", *arguments]) == 0
    (expected,) = sclip_seg.load(method, "toy").attention("scene.png", [(60, 40)])
    stored, name = np.load("work_dirs/attention/scene_attention.npz"), f"{method}_x40_y60"
    all_weights = stored[f"{name}_across"]
    np.testing.assert_array_equal(all_weights, np.stack([part.rows for part in expected.across]))
    np.testing.assert_array_equal(stored[f"{name}_across_window"], [part.window for part in expected.across])
    np.testing.assert_array_equal(stored[f"{name}_across_area"], [part.area for part in expected.across])
    np.testing.assert_array_equal(stored[name], expected.rows)
    np.testing.assert_allclose(all_weights.sum(), 1, atol=1e-5)
    assert stored[name].sum() < 0.5  # the window that the point lies in has the smaller part
    assert not [key for key in stored if key.startswith("sclip") and "across" in key]

    number, _, line, column = np.unravel_index(all_weights.argmax(), all_weights.shape)
    _, told, _ = capsys.readouterr().out.splitlines()
    size = f"{all_weights.max():.2g}"
    assert told.startswith(f"x=40, y=60  {method}  largest {size} at ")
    rows, columns = all_weights.shape[2:]
    place = f"(row {line + 1}, column {column + 1} of {rows} x {columns}, window {number + 1} of {len(all_weights)})"
    assert told.endswith(f"{place}, patches 1.000")
    top, left, bottom, right = expected.across[number].area
    y, x = top + (line + 0.5) * (bottom - top) / rows, left + (column + 0.5) * (right - left) / columns
    assert f" at x={x:.0f}, y={y:.0f} " in told


def test_heads_share_the_map_of_all_windows(scene, capsys):
    arguments = ("--points", "40,60", "--methods", "gla_clip", "--heads", "1,4", "--backbone", "toy")
    assert tool.main(["scene.png", *arguments]) == 0
    first, fourth, _ = capsys.readouterr().out.splitlines()
    assert first.replace("head 1", "head 4") == fourth
    assert Path("work_dirs/attention/scene_x40_y60_heads.png").is_file()


@pytest.mark.parametrize("method", ["gla_clip", "trident"])
def test_the_page_shows_the_same(method, scene):
    """The panel is the row's, all windows added up; it is that of no single window."""
    (look,) = Session("cpu").look(scene, (60, 40), Wish("", "", (method,), "toy"))
    (expected,) = sclip_seg.load(method, "toy").attention(scene, [(60, 40)])
    np.testing.assert_array_equal(look.image, drawing.heat(scene, expected))
    dimmed = (drawing.DIMMED * scene).astype(np.uint8)
    assert (look.image == dimmed).all(2).mean() < 0.2


@pytest.mark.parametrize("method", ["lposs", "lposs_plus"])
def test_a_stage_or_step_changes_nothing_of_what_is_looked_at(method, scene):
    """LPOSS spreads MaskCLIP's scores afterwards: a patch looks at itself, in its window."""
    seg, wish = sclip_seg.load(method, "toy"), Wish("kite, brick, tomato", "water, sand", (method,), "toy")
    (bare,) = seg.attention(scene, [(60, 40)])
    assert bare.across == ()
    for weights in bare.rows:
        assert weights.sum() == weights[bare.cell] == 1
    session = Session("cpu")
    (look,) = session.look(scene, (60, 40), wish)
    np.testing.assert_array_equal(look.image, drawing.heat(scene, bare))
    (found,), _ = session.run(scene, wish)
    ours = seg([scene, scene[:70], scene], wish.words, wish.background)
    np.testing.assert_array_equal(found.labels, ours[0].labels)
    np.testing.assert_array_equal(ours[2].labels, ours[0].labels)
    assert len(np.unique(found.labels)) > 1


@pytest.mark.parametrize("method", ["lposs", "gla_clip", "trident"])
def test_scores_beside_attention(method, scene):
    words = ("--classes", "kite, brick", "--scores")
    assert tool.main(["scene.png", "--points", "40,60", "--methods", method, *words, "--backbone", "toy"]) == 0
    names = sorted(path.name for path in Path("work_dirs/attention").iterdir())
    assert names == ["scene_attention.png", "scene_scores.png"]
