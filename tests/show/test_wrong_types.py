"""Values of another type in the Python API: each is an error in words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sclip_seg
from sclip_seg.errors import InputError

PICTURE = np.zeros((64, 64, 3), np.uint8)
ODD = (3, 2.5, True, b"bytes", bytearray(b"x"), {"a": 1}, {1, 2}, object(), torch.zeros(3, 4, 4), int, np.float32(1))


@pytest.fixture(scope="module")
def seg():
    seg = sclip_seg.load("sclip", "toy", device="cpu")
    seg.set_words("tomato, leaf")
    return seg


def named(thing):
    return type(thing).__name__ if not isinstance(thing, type) else thing.__name__


@pytest.mark.parametrize("odd", [*ODD, None, [], ["a"]], ids=named)
@pytest.mark.parametrize("argument", ["method", "backbone", "dataset", "device", "options"])
def test_load(argument, odd):
    if (odd is None and argument in ("dataset", "device", "options")) or (argument == "options" and odd == {"a": 1}):
        return  # what is said of a setting's value is not asked here
    arguments = dict(method="sclip", backbone="toy", device="cpu")
    with pytest.raises(InputError, match=argument):
        sclip_seg.load(**(arguments | {argument: odd}))


@pytest.mark.parametrize("device", ["nope", "", torch.device("meta", 3), "cuda:99"])
def test_devices_that_cannot_be_had(device):
    with pytest.raises(InputError, match="device"):
        sclip_seg.load("sclip", "toy", device=device)


def test_options_are_named_by_texts():
    with pytest.raises(InputError, match="not by 3"):
        sclip_seg.load("sclip", "toy", options={3: 4})


def test_a_config_may_be_a_path():
    config = Path(__file__).parents[2] / "configs/sclip.py"
    assert sclip_seg.load(config, "toy", device=torch.device("cpu")).model is not None


PICTURES = (
    *ODD,
    None,
    [],
    [[]],
    (),
    "",
    Path("absent"),
    "a\0b",
    np.zeros((4, 4, 3)),
    np.zeros((4, 4, 3), np.float16),
    np.zeros((4, 4), np.uint16),
    np.zeros((4, 4, 3), np.int64),
    np.zeros((4, 4), bool),
    np.zeros((4, 4), object),
    np.zeros((4, 4), complex),
    np.array(["a"]),
    np.zeros((), np.uint8),
    np.zeros((2, 4, 4, 3), np.uint8),
    Image.new("RGB", (0, 3)),
    (picture for picture in ()),
)


@pytest.mark.parametrize("odd", [odd for odd in PICTURES if not (isinstance(odd, list | tuple) and not odd)], ids=named)
def test_pictures(seg, odd):
    for call in (seg, lambda odd: seg([PICTURE, odd]), lambda odd: seg.attention(odd, [(1, 1)]), seg(PICTURE).figure):
        with pytest.raises(InputError, match="picture"):
            call(odd)


@pytest.mark.parametrize("odd", [*ODD, None, "a.png", Path("a.png"), PICTURE, Image.new("RGB", (3, 3))], ids=named)
def test_streams(seg, odd):
    with pytest.raises(InputError, match=r"stream takes pictures|is a path, a PIL picture or an array"):
        list(seg.stream(odd))


@pytest.mark.parametrize(
    "odd",
    [*ODD, [], [[]], [None], [3], [["a", 3]], [["a", ["b"]]], ["a", b"b"], [{"a": 1}], "", ",", ["a", {"b"}]],
    ids=named,
)
def test_words(seg, odd):
    before = seg.classes
    for call in (
        lambda: seg(PICTURE, odd),
        lambda: seg.set_words(odd),
        lambda: seg(PICTURE, "tomato", background=odd),
    ):
        with pytest.raises(InputError, match="word"):
            call()
        assert seg.classes == before


POINTS = (
    3,
    None,
    "ab",
    [3],
    [None],
    ["ab"],
    [(1,)],
    [(1, 2, 3)],
    [(1, "2")],
    [(None, 1)],
    [(np.nan, 1)],
    [(1, np.inf)],
)


@pytest.mark.parametrize("odd", [*POINTS, [(1j, 1)], [(64, 1)], [(-1, 1)], [{1, 2}], b"ab", (1, 2)], ids=str)
def test_points(seg, odd):
    with pytest.raises(InputError, match="point"):
        seg.attention(PICTURE, odd)


@pytest.mark.parametrize("odd", ["last", None, 1.5, True, 99, -99], ids=str)
def test_blocks(seg, odd):
    with pytest.raises(InputError, match="block"):
        seg.attention(PICTURE, [(1, 2)], block=odd)


def test_points_of_every_kind_of_number(seg):
    (row,) = seg.attention(PICTURE, [(10, 20)])
    for point in ((10.0, 20.0), [10, 20], np.array([10, 20]), (np.int64(10), np.float32(20))):
        np.testing.assert_array_equal(seg.attention(PICTURE, [point])[0].rows, row.rows)
    np.testing.assert_array_equal(seg.attention(PICTURE, np.array([[10, 20]]))[0].rows, row.rows)
