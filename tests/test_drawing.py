"""Overlays and legends: what is painted, and that names and columns fit, whatever the picture's size."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import features

from sclip_seg import lettering
from sclip_seg.drawing import (
    GAP,
    NARROWEST,
    figure,
    first_colours,
    legend,
    make_palette,
    overlay,
    percent,
    side_by_side,
)
from sclip_seg.lettering import MISSING, cut, face_with, length, letters_of, pieces

NAMES = ["background", "cat", "traffic light seen from behind the old lime tree", "café crème", "猫", "x" * 300]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (40, 60), (375, 500), (600, 2000)])
@pytest.mark.parametrize("count", [1, 3, 20, 60])
def test_figures_of_every_size(size, count):
    """The picture on top, as it is; below it a legend that is no narrower than its words need."""
    names = [*NAMES, *(f"class number {index}" for index in range(60))][:count]
    labels = np.arange(size[0] * size[1]).reshape(size) * 7 % count
    picture = np.full((*size, 3), 90, np.uint8)
    drawn = figure(picture, labels, names, make_palette(count), background=0)
    assert drawn.width == max(size[1], NARROWEST)
    assert drawn.height > size[0]
    top = np.asarray(drawn)[: size[0], : size[1]]
    np.testing.assert_array_equal(top, overlay(picture, labels, make_palette(count), background=0))
    below = np.asarray(drawn)[size[0] :]
    assert below.std() > 0
    for edge in (below[0], below[-1], below[:, 0], below[:, -1]):
        assert (edge == 255).all(), "nothing is cut by the rim"


def test_a_large_figure():
    labels = np.zeros((3000, 4000), np.int64)
    labels[:1500] = 1
    drawn = figure(np.zeros((3000, 4000, 3), np.uint8), labels, ["cat", "dog"], make_palette(2))
    assert drawn.width == 4000
    assert drawn.height - 3000 > 150, "the letters have grown"


def test_a_legend_has_each_colour_once():
    palette = make_palette(60)
    drawn = legend([(f"class {i}", "1 %", tuple(colour)) for i, colour in enumerate(palette)], 500, 15)
    pixels = np.asarray(drawn).reshape(-1, 3)
    area = [(pixels == colour).all(axis=1).sum() for colour in palette]
    assert min(area) == np.median(area) > 80
    assert drawn.height < 400, "in columns"
    assert legend([], 300, 12).size == (300, 0)


def test_cut_names():
    assert cut("dog", 14, 100) == "dog"
    assert cut("  café\ncrème", 14, 200) == "café crème"
    for name in ("a very long name of a class", "очень длинное имя класса", "اسم طويل جدا لفئة من الفئات"):
        short = cut(name, 14, 80)
        assert short.endswith("...")
        assert length(short, 14) <= 80
    assert [percent(share) for share in (1, 0.414, 0.0061, 0.0004, 0.00996)] == [
        "100 %",
        "41 %",
        "0.6 %",
        "<0.1 %",
        "1 %",
    ]


@pytest.mark.parametrize("size", [(1, 1), (30, 40), (200, 300)])
def test_side_by_side(size):
    labels = np.arange(size[0] * size[1]).reshape(size) % 4
    picture = np.full((*size, 3), 90, np.uint8)
    drawn = side_by_side(picture, labels, np.where(labels == 3, 255, labels), NAMES[:4], make_palette(4))
    assert drawn.width == 3 * max(size[1], 96) + 4 * GAP


@pytest.mark.parametrize("script", ["café crème", "жираф", "λόφος", "Հայաստան", "سماء زرقاء", "שמיים"])
def test_a_legend_in_several_scripts(script, recwarn):
    """Each letter is one of the font's own, and what is drawn is that word: another has other pixels."""
    drawn = [np.asarray(legend([(word, "", (9, 80, 200))], 300, 20)) for word in (script, script[::-1], MISSING * 5)]
    assert all(np.abs(drawn[0].astype(int) - other).sum() > 1000 for other in drawn[1:])
    assert all(ord(letter) in letters_of(face) for part, face in pieces(script) for letter in part)
    assert not [warning for warning in recwarn if "no font here" in str(warning.message)]


@pytest.mark.skipif(not features.check("raqm"), reason="this pillow shapes no letters")
def test_arabic_letters_are_joined():
    joined = length("سماء", 40)
    assert joined < sum(length(letter, 40) for letter in "سماء") - 4


@pytest.fixture
def cat_font(tmp_path, monkeypatch):
    """A font that has one letter, as if it were among the system's."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0)), pen.lineTo((100, 900)), pen.lineTo((900, 900)), pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": pen.glyph(), "cat": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Cat", "styleName": "Regular"})
    builder.setupOS2(), builder.setupPost()
    builder.save(tmp_path / "Cat-Regular.ttf")
    yield from only(monkeypatch, [tmp_path / "Cat-Regular.ttf"])


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine with matplotlib's font alone."""
    yield from only(monkeypatch, [])


def only(monkeypatch, fonts):
    monkeypatch.setattr(lettering, "_of_packages", lambda: ())
    monkeypatch.setattr(lettering, "_of_the_system", lambda: tuple(fonts))
    for kept in (pieces, face_with):
        kept.cache_clear()
    yield fonts
    for kept in (pieces, face_with):
        kept.cache_clear()


def test_a_letter_is_taken_from_the_font_that_has_it(cat_font, recwarn):
    assert [part for part, _ in pieces("sky 猫")] == ["sky ", "猫"]
    assert pieces("sky 猫")[1][1] == cat_font[0]
    assert pieces("猫") == (("猫", cat_font[0]),)
    assert not recwarn.list


def test_letters_that_no_font_has_are_told_in_a_line(no_fonts):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        legend([(name, "", (9, 80, 200)) for name in ("猫", "犬", "a 空")], 300, 20)
    (line,) = [str(warning.message) for warning in told]
    assert line.startswith(f"no font here has the CJK letters of a word, and {MISSING} stands for them: pip install")
    assert "".join(part for part, _ in pieces("a 空")) == f"a {MISSING}"


def test_the_background_is_struck_out_and_said_not_to_be_painted():
    labels = np.zeros((40, 60), np.int64)
    picture = np.full((40, 60, 3), 90, np.uint8)
    below = [
        np.asarray(figure(picture, labels, ["wall"], [[255, 255, 255]], background))[40:].astype(int)
        for background in (0, None)
    ]
    assert np.abs(below[0] - below[1]).sum() > 1000


def test_the_colour_blind_tell_the_first_colours_apart():
    """Machado's matrices (2009, whole severity) on linear RGB; distances in CIE Lab. Those of before had 5.4."""
    matrices = [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
    import cv2

    colours = np.array(make_palette(20), np.float32) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for matrix in matrices:
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055).astype(np.float32)
        lab = cv2.cvtColor(seen[None], cv2.COLOR_RGB2LAB)[0]
        distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(20) * 1e3
        assert distance.min() > 10


def test_the_first_colours_are_as_they_were_made():
    assert len(first_colours()) == len(set(first_colours())) == 1024
    steps = np.linalg.norm(np.diff(np.array(first_colours(), float), axis=0), axis=1)
    assert steps[:59].min() > 100, "neighbours are far apart"
    pytest.importorskip("colorspacious")
    from colours import make

    assert make(12).tolist() == make_palette(12)
