"""What the page says of a run, draws of it, and writes: legend, switched classes, threshold, files."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
from browser import Page as Parsed
from made_results import HOSTILE
from PIL import Image

from sclip_seg.show.app import legend
from sclip_seg.show.app.downloads import overlay_file
from sclip_seg.show.app.examples import what_it_knows
from sclip_seg.show.app.found import Found
from sclip_seg.show.app.session import Look
from sclip_seg.toy import rich_world
from sclip_seg.toy.world import GROUNDS, THINGS

PICTURE = np.full((2, 3, 3), 90, np.uint8)


def found_of(labels, classes, method="sclip", background=None):
    palette = [[10 * c, 200, 0] for c in range(len(classes))]
    sure = np.full(np.shape(labels), 128, np.uint8)
    return Found(method, np.array(labels, np.uint16), tuple(classes), palette, background, sure)


def test_legend_has_colours_and_shares():
    classes = ("background", "egg", "kite", "egg", "leaf")
    first = found_of([[0, 1, 1, 3]], classes, background=0)
    second = found_of([[2, 1, 1, 1]], classes, "clip", background=0)
    source = legend.legend([first, second])
    parsed = Parsed(source)
    assert [text for text in parsed.texts if text.strip()] == [
        *("Share of the picture: sclip, then clip", "egg", "50 %", "75 %", "background (not painted)", "25 %", "0 %"),
        *("egg", "25 %", "0 %", "kite", "0 %", "25 %", "Not found: leaf.", legend.HOW),
    ]
    swatches = [attrs.get("style") for tag, attrs in parsed.tags if tag == "span"]
    assert swatches == [f"background: rgb({c}, 200, 0)" if c else None for c in (10, 0, 30, 20)]
    switches = [attrs for tag, attrs in Parsed(legend.legend([first], off={1})).tags if tag == "button"]
    assert [(attrs["data-class"], attrs["aria-pressed"]) for attrs in switches] == [("1", "false"), ("3", "true")]
    assert "score below 0.60 (not painted)" in legend.legend([first], threshold=0.6)


def test_words_of_users_stay_text():
    found = found_of([[0]], (HOSTILE, f"absent {HOSTILE}"), HOSTILE)
    for source in (
        legend.legend([found]),
        legend.status([HOSTILE], is_bad=True),
        legend.attention((1, 2), [Look(HOSTILE, None, HOSTILE)]),
        legend.note(HOSTILE),
    ):
        parsed = Parsed(source)
        assert not {tag for tag, _ in parsed.tags} & {"script", "img", "a"}
        assert any(HOSTILE in text for text in parsed.texts)
    (told,) = [attrs for tag, attrs in Parsed(legend.pointed([found])).tags if tag == "span"]
    assert json.loads(told["data-names"]) == list(found.classes)


def half_sure():
    """Two classes and a background; the scores of the right column are low."""
    found = found_of([[0, 1, 2], [1, 2, 2]], ("background", "egg", "kite"), background=0)
    found.sure[:] = [[20, 250, 20], [250, 250, 20]]
    return found


def test_classes_that_are_off_and_pixels_below_the_threshold_are_bare():
    found = half_sure()
    painted = [(found.over(PICTURE, 1.0, *how) != 90).any(-1).tolist() for how in ((), ({1},), ((), 0.5))]
    assert painted == [
        [[False, True, True], [True, True, True]],
        [[False, False, True], [False, True, True]],
        [[False, True, False], [True, True, False]],
    ]
    assert found.shares == [1 / 6, 2 / 6, 3 / 6]
    assert found.shares_above(0.5) == [1 / 6, 2 / 6, 1 / 6]
    assert found.at(0, 1) == ("egg", 250 / 255)
    np.testing.assert_allclose(found.mean_scores, [20 / 255, 250 / 255, 290 / 3 / 255])


def test_files_of_a_run():
    found = half_sure()
    stored = Image.open(io.BytesIO(found.label_file()))
    assert np.array_equal(np.asarray(stored), found.labels)
    assert np.array(stored.getpalette()[:9]).reshape(3, 3).tolist() == found.palette
    assert np.asarray(Image.open(io.BytesIO(found.label_file(0.5)))).tolist() == [[0, 1, 255], [1, 2, 255]]
    many = found_of([[0, 299]], [f"c{c}" for c in range(300)])
    assert np.asarray(Image.open(io.BytesIO(many.label_file()))).tolist() == [[0, 299]]
    drawn = np.asarray(Image.open(io.BytesIO(overlay_file(PICTURE, found, 0.5))))[:2, :3]
    assert (drawn != 90).any(-1).tolist() == [[False, True, False], [True, True, False]]
    few = replace(found, memory="memory: 1 region of 1 name")
    heights = [Image.open(io.BytesIO(overlay_file(PICTURE, one))).height for one in (found, few)]
    assert heights[1] > heights[0], "it is not said that this is few-shot"
    assert [one.stem for one in (found, few)] == ["sclip", "sclip.few_shot"]


def test_what_a_pointer_is_told():
    """Class and score of every pixel, to the last bit, also of classes beyond the 256th."""
    found = found_of([[0, 299, 256], [7, 8, 255]], [f"c{c}" for c in range(300)])
    content = base64.b64decode(found.as_data_uri().removeprefix("data:image/png;base64,"))
    red, green, blue = np.moveaxis(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int), -1, 0)
    assert np.array_equal(red + 256 * green, found.labels)
    assert np.array_equal(blue, found.sure)


def test_what_the_toy_knows_is_said():
    assert all(word in what_it_knows("toy") for word in (*THINGS, *GROUNDS, "Photographs"))
    assert all(word in what_it_knows("toy12") for word in (*rich_world.NAMES, "Photographs"))
    assert what_it_knows("openai_vit_b16") == ""
