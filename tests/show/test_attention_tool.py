"""`sclip-seg attention` from its arguments to its files, with the toy CLIP on pictures of the toy world."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sclip_seg
from sclip_seg.show import attention_command as tool
from sclip_seg.show import heat as drawing
from sclip_seg.show.predictor import AttentionRow
from sclip_seg.toy.make import evaluation_scene

ROOT = Path(__file__).parents[2]
TOY = ("--backbone", "toy")


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """A working folder with scene.png, a drawn scene; the picture as an array."""
    monkeypatch.chdir(tmp_path)
    scene = evaluation_scene(0, 0).image
    Image.fromarray(scene).save("scene.png")
    return scene


def files() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file() and path.name != "scene.png")


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def row(weights: np.ndarray, window=(10, 20, 42, 52), point=(12, 40)) -> AttentionRow:
    """A row of weights (heads, h, w) over a window of 32 pixels."""
    return AttentionRow(weights.astype(np.float32), None, window, window, point, (0, 0))


def lightness(picture: np.ndarray) -> np.ndarray:
    return picture.astype(int).sum(2)


def test_heat_is_brightest_at_the_middle_of_the_largest_weight():
    weights = np.zeros((2, 4, 4))
    weights[0, 2, 1], weights[1, 3, 3] = 1, 3
    grey = np.full((60, 80, 3), 100, np.uint8)
    places = {0: (10 + 20, 20 + 12), 1: (10 + 28, 20 + 28), None: (10 + 28, 20 + 28)}
    for head, place in places.items():
        drawn = drawing.heat(grey, row(weights), head)
        assert drawn.shape == grey.shape
        assert drawn.dtype == np.uint8
        inside = lightness(drawn)[18:41, 22:50]  # within the frame, below the point's ring
        y, x = np.unravel_index(inside.argmax(), inside.shape)
        assert abs(y + 18.5 - place[0]) <= 1
        assert abs(x + 22.5 - place[1]) <= 1
        assert (drawn[50:] == 45).all()  # beside the window the picture is dimmed, and nothing else
        assert (drawn[41, 20:52] == 255).all()


def test_heat_is_linear_between_middles_and_level_beyond_them():
    """Weights of 0 and 1 left and right: all colours in their order from one patch's middle to the other's."""
    drawn = drawing.heat(np.zeros((40, 64, 3), np.uint8), row(np.array([[[0, 1.0]]]), (0, 0, 40, 64), (1, 1)))
    light = lightness(drawn)[30]
    assert (light[:16] == light[0]).all()
    assert (np.diff(light[16:48]) > 0).all()
    assert (light[48:] == light[-1]).all()
    assert drawn[30, -1].tolist() == (drawing.OPACITY * drawing.COLOURS[255]).round().astype(int).tolist()


def test_the_mean_of_heads_is_drawn_unless_one_is_named():
    weights, black = np.random.default_rng(0).random((3, 4, 4)), np.zeros((60, 80, 3), np.uint8)
    mean = drawing.heat(black, row(weights.mean(0, keepdims=True)), 0)
    assert (drawing.heat(black, row(weights)) == mean).all()
    assert (drawing.heat(black, row(weights), 1) != mean).any()


def test_colours_grow_lighter():
    light = drawing.COLOURS @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > -0.8).all()  # rounded to 8 bits
    assert light[-1] - light[0] > 200


def test_score_map_holds_to_its_ends():
    scores = np.array([[-5.0, 0.1, 0.2, 0.3, 9.0]])
    drawn = drawing.score_map(np.zeros((1, 5, 3), np.uint8), scores, 0.1, 0.3)[0]
    assert drawn[0].tolist() == drawn[1].tolist()
    assert drawn[3].tolist() == drawn[4].tolist()
    assert (np.diff(lightness(drawn[None, 1:4])[0]) > 0).all()
    flat = drawing.score_map(np.zeros((1, 5, 3), np.uint8), np.ones((1, 5)), 1.0, 1.0)
    assert (flat == flat[0, 0]).all()


@pytest.mark.parametrize("shape", [(30, 40), (1200, 1600), (8, 300), (300, 8)])
@pytest.mark.parametrize("columns", [1, 3, 12])
def test_grid_holds_every_panel_and_its_words(shape, columns):
    panels = [[np.full((*shape, 3), 10 * index, np.uint8) for index in range(columns)] for _ in range(2)]
    words = ("a figure", ["x=1, y=2", "x=3, y=4"], [f"method {index}" for index in range(columns)])
    figure = drawing.grid(panels, *words, [["0 to 0.123"] * columns] * 2, ("0", "the largest weight"))
    pixels = np.array(figure).reshape(-1, 3)
    side = min(max(1920 // columns, 200), 480)
    area = round(shape[0] * side / max(shape)) * round(shape[1] * side / max(shape))
    for index in range(1, columns):
        assert ((pixels == 10 * index).all(1)).sum() >= 2 * area
    border = np.concatenate([np.array(figure)[[0, -1]].ravel(), np.array(figure)[:, [0, -1]].ravel()])
    assert (border == 255).all()  # no word is cut off


def test_marks_are_those_of_the_picture_at_panel_size():
    small, (moved,) = drawing.at_panel_size(np.zeros((60, 80, 3), np.uint8), [row(np.ones((1, 4, 4)))], 2)
    assert small.shape == (360, 480, 3)
    assert moved.window == (60, 120, 252, 312)
    assert moved.point == (75, 243)


def test_points_side_by_side_and_their_weights(picture, capsys):
    arguments = ("--points", "40,60", "120,100", "--methods", "clip", "sclip", "sclip", "--npz", *TOY)
    assert tool.main(["scene.png", *arguments]) == 0
    assert files() == ["work_dirs/attention/scene_attention.npz", "work_dirs/attention/scene_attention.png"]
    height, width = picture.shape[:2]
    shown = size("work_dirs/attention/scene_attention.png")
    assert shown[0] > 2 * 480 * width / max(picture.shape)  # each method once
    assert shown[1] > 2 * 480 * height / max(picture.shape)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "written to work_dirs/attention: scene_attention.png, scene_attention.npz"

    stored = np.load("work_dirs/attention/scene_attention.npz")
    for method in ("clip", "sclip"):
        rows = sclip_seg.load(method, "toy").attention("scene.png", [(60, 40), (100, 120)])
        for expected, name in zip(rows, (f"{method}_x40_y60", f"{method}_x120_y100"), strict=True):
            np.testing.assert_array_equal(stored[name], expected.rows)
            np.testing.assert_array_equal(stored[f"{name}_window"], expected.window)
            np.testing.assert_array_equal(stored[f"{name}_area"], expected.area)
            np.testing.assert_array_equal(stored[f"{name}_cell"], expected.cell)
    mean = stored["sclip_x40_y60"].mean(0)
    row, column = np.unravel_index(mean.argmax(), mean.shape)
    (line,) = [line for line in lines if line.startswith("x=40, y=60  sclip")]
    assert f"largest {mean.max():.4f}" in line
    assert f"(row {row + 1}, column {column + 1} of 8 x 8)" in line
    assert line.endswith(f"patches {mean.sum():.3f}, class token {2 - mean.sum():.3f}"), "csa's rows sum to 2"


def test_each_head_of_another_block_of_the_whole_picture(picture, capsys):
    arguments = ("--points", "40,60", "--methods", "sclip", "proxyclip", "--block", "2", "--heads", "each", "--whole")
    assert tool.main(["scene.png", *arguments, "--npz", "--out-dir", "out", *TOY]) == 0
    assert files() == ["out/scene_attention.npz", "out/scene_x40_y60_heads.png"]
    stored = np.load("out/scene_attention.npz")
    (expected,) = sclip_seg.load("clip", "toy").attention("scene.png", [(60, 40)], block=1, whole=True)
    assert stored["sclip_x40_y60"].shape == (4, picture.shape[0] // 8, picture.shape[1] // 8)
    np.testing.assert_array_equal(stored["sclip_x40_y60"], expected.rows)  # before the last block all look alike
    told = capsys.readouterr().out
    assert [f"sclip  head {head}  " in told for head in range(1, 6)] == [True] * 4 + [False]


def test_one_map_for_all_heads_stands_for_each(picture, capsys):
    arguments = ("--points", "40,60", "--methods", "proxyclip", "--heads", "1,4", *TOY)
    assert tool.main(["scene.png", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].replace("head 1", "head 4") == lines[1]


def test_score_maps_of_the_words(picture):
    words = ("--classes", "kite, brick; wall", "--background", "sand, water", "--scores")
    assert tool.main(["scene.png", "--methods", "sclip", "naclip", *words, *TOY]) == 0
    assert files() == ["work_dirs/attention/scene_scores.png"]
    panel = 480 / max(picture.shape)
    shown = size("work_dirs/attention/scene_scores.png")
    assert shown[0] > 2 * panel * picture.shape[1]
    assert 5 * panel * picture.shape[0] < shown[1] < 6 * panel * picture.shape[0]  # five queries


def test_feedback_asks_for_words(picture, capsys):
    arguments = ["scene.png", "--points", "40,60", "--methods", "resclip", *TOY]
    assert tool.main(arguments) == 2
    assert "depends on the words" in capsys.readouterr().err
    assert files() == []
    assert tool.main([*arguments, "--block", "1"]) == 0  # which is read as CLIP was trained
    assert tool.main([*arguments, "--classes", "kite, sand"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.png", "--points", "1,2"], "none.png"),
        (["scene.png", "--points", "40,60", "5000,7"], "x=5000, y=7 lies outside"),
        (["scene.png", "--points", "1,2", "--methods", "sclop"], "did you mean sclip"),
        (["scene.png", "--points", "1,2", "--backbone", "toi"], "did you mean toy"),
        (["scene.png", "--points", "1,2", "--block", "99"], "the tower of toy has 5 blocks"),
        (["scene.png", "--points", "1,2", "--heads", "2,5"], "--heads 5: the blocks of toy have 4 heads"),
        (["scene.png", "--points", "1,2", "--classes", "cat,,dog"], "empty word"),
        (["scene.png", "--scores", "--classes", "kite", "--whole", "--methods", "trident"], "window.crop=None"),
        (["scene.png", "--points", "1,2", "--methods", "sclip", "--out-dir", "scene.png/below"], "scene.png"),
    ],
    ids=str,
)
def test_what_a_user_can_mend_is_one_line(arguments, told, picture, capsys):
    assert tool.main([*TOY, *arguments]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert files() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PICTURE"),
        (["scene.png"], "--points X,Y"),
        (["scene.png", "--points", "7"], "'7' is no point; X,Y in whole pixels is, e.g. 120,80"),
        (["scene.png", "--points", "7,8,9"], "'7,8,9' is no point"),
        (["scene.png", "--points", "0.5,0.5"], "'0.5,0.5' is no point"),
        (["scene.png", "--points", "-1,5"], "--points"),
        (["scene.png", "--points", "1,2", "--block", "0"], "argument --block: '0' is not a whole number from 1 on"),
        (["scene.png", "--points", "1,2", "--block", "-1"], "argument --block: '-1' is not a whole number"),
        (["scene.png", "--points", "1,2", "--heads", "0"], "numbers from 1"),
        (["scene.png", "--points", "1,2", "--heads", "first"], "mean, each, or numbers"),
        (["scene.png", "--points", "1,2", "--methods", "clip", "mine/clip.py"], "two methods of one name: clip, clip"),
        (["scene.png", "--points", "1,2", "--scores"], "--scores needs words"),
        (["scene.png", "--points", "1,2", "--background", "wall"], "--classes"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(arguments, told, picture, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert files() == []


def test_help_fits_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        tool.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines()) <= 80
    assert "--points" in told
