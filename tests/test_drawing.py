"""Overlays and legends: what is painted, and that names and columns fit, whatever the picture's size."""

import numpy as np
import pytest

from sclip_seg.drawing import GAP, NARROWEST, cut, figure, font_of, legend, make_palette, overlay, percent, side_by_side

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
    font = font_of(14)
    assert cut("dog", font, 100) == "dog"
    assert cut("  café\ncrème 猫", font, 200) == "cafe creme ?"
    short = cut("a very long name of a class", font, 80)
    assert short.endswith("...")
    assert font.getlength(short) <= 80
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
