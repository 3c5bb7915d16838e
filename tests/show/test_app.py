"""The page's logic, without a browser: what is computed, bounded, escaped and refused."""

import io
import os
import resource
import struct
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sclip_seg
from sclip_seg.errors import InputError
from sclip_seg.show.app import session
from sclip_seg.show.app.session import Session, Wish, open_picture, silent
from sclip_seg.toy.world import draw

WORDS, GROUNDS = "tomato, brick; plum, leaf", "sand; water, snow, grass"
SCENE = draw(7, 1, 72, 90, count=(3, 4)).image
pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")


def wish(words=WORDS, background=GROUNDS, methods=("sclip", "clip"), backbone="toy"):
    return Wish(words, background, tuple(methods), backbone)


@pytest.fixture(scope="module")
def kept():
    """One session, so that models are built once."""
    return Session("cpu")


def test_labels_are_the_predictors(kept):
    found, notes = kept.run(SCENE, wish())
    assert notes == []
    for one in found:
        expected = sclip_seg.load(one.method, "toy", device="cpu")(SCENE, WORDS, GROUNDS)
        assert np.array_equal(one.labels, expected.labels)
        assert one.classes == expected.classes == ("background", "tomato", "brick", "leaf")
        assert dict(zip(one.classes, one.shares, strict=True)) == pytest.approx(
            {name: expected.shares.get(name, 0.0) for name in one.classes}
        )
    assert [one.method for one in found] == ["sclip", "clip"]
    assert not np.array_equal(found[0].labels, found[1].labels)


def test_opacity_draws_between_picture_and_colours(kept):
    found = kept.run(SCENE, wish(background=""))[0][0]
    assert np.array_equal(found.over(SCENE, 0.0), SCENE)
    colours = np.array(found.palette, np.uint8)[found.labels]
    assert np.array_equal(found.over(SCENE, 1.0), colours)


def test_another_vocabulary_builds_nothing(kept, monkeypatch):
    kept.run(SCENE, wish())
    monkeypatch.setattr(session, "load", lambda *_, **__: pytest.fail("a model was built again"))
    found, _ = kept.run(SCENE, wish("kite, egg", ""))
    assert found[0].classes == ("kite", "egg")
    assert found[0].background is None


def test_the_last_few_models_are_kept(monkeypatch):
    built = []
    monkeypatch.setattr(session, "load", lambda *key, device: built.append((*key, device)) or object())
    few = Session("cpu", kept=2)
    one = few.model("a", "x")
    few.model("b", "x")
    assert few.model("a", "x") is one  # and now the younger of the two
    few.model("c", "x")
    assert list(few.models) == [("a", "x"), ("c", "x")]
    few.model("b", "x")
    assert built == [(name, "x", "cpu") for name in "abcb"]


@pytest.mark.parametrize("words", ["", "  ", ",", "tomato,,leaf", "tomato; , leaf"])
def test_empty_words_are_refused_before_models_are_loaded(monkeypatch, words):
    monkeypatch.setattr(session, "load", lambda *_, **__: pytest.fail("a model was built"))
    with pytest.raises(InputError, match="word"):
        Session("cpu").run(SCENE, wish(words))


@given(st.integers(1, 3 * session.MOST_WORDS), st.integers(0, 30), st.sampled_from(",;"))
def test_words_are_bounded_before_models_are_loaded(count, length, between):
    words = between.join(["x" * (1 + length)] * count)
    is_fine = len(words) + 5 <= session.MOST_CHARACTERS and count + 2 <= session.MOST_WORDS
    for asked in (wish(words, "sea;w"), wish("sea;w", words)):
        if is_fine:
            session.check(asked)
            continue
        never = Session("cpu")
        never.model = lambda *_: pytest.fail("a model was built")
        for ask in (lambda wish, s=never: s.run(SCENE, wish), lambda wish, s=never: s.look(SCENE, (1, 1), wish)):
            with pytest.raises(InputError, match="this page takes") as caught:
                ask(asked)
            assert len(str(caught.value)) < 200


def test_what_a_user_should_know_about_the_words(kept):
    _, notes = kept.run(SCENE, wish("tomato, brick; tomato"))
    assert len(notes) == 1  # once, though two methods warn
    assert notes[0].startswith("query 'tomato' stands in class")


def test_attention_beside_each_other(kept):
    looks = kept.look(SCENE, (40, 30), wish())
    assert [look.method for look in looks] == ["sclip", "clip"]
    assert all(look.image.shape == SCENE.shape for look in looks)
    assert not np.array_equal(looks[0].image, looks[1].image)


def test_attention_without_words_where_none_are_needed():
    fresh = Session("cpu")
    first, second = fresh.look(SCENE, (40, 30), wish("", "", ("naclip", "resclip")))
    assert first.image is not None
    assert second.image is None
    assert "words" in second.reason
    assert fresh.look(SCENE, (40, 30), wish("tomato", "", ["resclip"]))[0].image is not None
    # The words of before are not those that are asked for now.
    assert fresh.look(SCENE, (40, 30), wish("", "", ["resclip"]))[0].image is None


@pytest.mark.parametrize("point", [(72, 0), (0, 90), (-1, 5), (5, -1)])
def test_a_click_outside(kept, point):
    looks = kept.look(SCENE, point, wish())
    assert all(look.image is None for look in looks)
    assert all("outside the picture, 90 wide and 72 high" in look.reason for look in looks)


@pytest.mark.parametrize(
    ("size", "bounded"), [((30, 5000), (12, 2048)), ((2048, 7), (2048, 7)), ((1, 9000), (1, 2048))]
)
def test_large_pictures_are_bounded(tmp_path, size, bounded):
    path = tmp_path / "large.png"
    Image.new("RGB", size[::-1], (9, 80, 200)).save(path)
    picture = open_picture(path)
    assert picture.pixels.shape == (*bounded, 3)
    assert picture.pixels[0, 0].tolist() == [9, 80, 200]  # RGB
    assert ("scaled down" in picture.notes[0]) == (size != bounded)
    assert picture.at(0, 0) == (0, 0)
    assert picture.at(size[1] - 0.5, size[0] - 0.5) == (bounded[0] - 1, bounded[1] - 1)


def test_bad_pictures_are_named_in_words(tmp_path):
    text = tmp_path / "letter.png"
    text.write_text("no picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    half = tmp_path / "half.png"
    stream = io.BytesIO()
    Image.fromarray(SCENE).save(stream, "png")
    half.write_bytes(stream.getvalue()[:60])
    for path in (text, empty, half, tmp_path / "gone.png"):
        with pytest.raises(InputError) as caught:
            open_picture(path)
        assert str(caught.value).startswith(f"{path.name} cannot be read as a picture")
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(InputError, match="there is no picture"):
        open_picture(None)


def test_endless_pixels_are_not_decoded(tmp_path):
    """109 KB that stand for 900 million pixels."""
    path = tmp_path / "endless.png"
    row = b"\0" + bytes(30_000 // 8)
    deflate = zlib.compressobj(9)
    content = b"".join(deflate.compress(row * 100) for _ in range(300)) + deflate.flush()
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)), (b"IDAT", content), (b"IEND", b"")
    parts = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"endless.png cannot be read as a picture: .*pixels"):
        open_picture(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_what_is_told_while_a_picture_is_read_is_shown_without_its_place(tmp_path, monkeypatch):
    def read(path):
        warnings.warn(f"the picture {path} is animated: its first frame is read", UserWarning, stacklevel=1)
        return SCENE

    read.__code__ = read.__code__.replace(co_filename=session.__file__)
    monkeypatch.setattr(session, "read_picture", read)
    (tmp_path / "a.gif").touch()
    assert open_picture(tmp_path / "a.gif").notes == [
        "The picture is 90 x 72 pixels.",
        "the picture a.gif is animated: its first frame is read",
    ]


@pytest.fixture
def page():
    """The page's handlers, without a server."""
    from sclip_seg.show.app.examples import Example
    from sclip_seg.show.app.page import Page, Start

    return Page(Session("cpu"), Start([Example(Path("scene.png"), WORDS, GROUNDS), Example(Path("bare.png"))], "toy"))


def values_of(page, tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(SCENE).save(path)
    fields = {page.picture: path, page.words: WORDS, page.background: "", page.backbone: "toy"}
    how = {page.opacity: 0.5, page.threshold: 0, page.shown: None, **dict.fromkeys(page.remembering.asked)}
    return {**fields, **how, page.first: "sclip", page.second: "nothing"}


def test_words_go_with_the_example_that_brought_them(page):
    taken = page.take_example(SimpleNamespace(index=0))
    assert (taken[page.words], taken[page.background]) == (WORDS, GROUNDS)
    assert page.take_example(SimpleNamespace(index=1)) == {page.picture: "bare.png"}
    for words, kept in ((WORDS, False), ("my dog", True)):
        own = page.take_own({page.picture: "own.png", page.words: words, page.background: GROUNDS})
        assert own == ({page.words: words} if kept else {page.words: "", page.background: ""})


def test_a_class_is_switched_off_and_on(page, tmp_path):
    values = values_of(page, tmp_path)
    shown = page.run(values, progress=silent)[page.shown]
    for index, off in ((1, {1}), (2, {1, 2}), (1, {2})):
        done = page.switch({**values, page.shown: shown}, SimpleNamespace(_data={"index": index}))
        shown = done[page.shown]
        assert shown.off == off
        assert done[page.legend].count('aria-pressed="false"') <= len(off)
    for odd in (None, {}, {"index": 99}, {"index": "1"}, {"index": [1]}, {"index": float("nan")}, {"index": -1}):
        assert page.switch({**values, page.shown: shown}, SimpleNamespace(_data=odd)) == {page.shown: shown}


def test_files_to_download(page, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    values = values_of(page, tmp_path)
    assert "press Run again" in page.write(values)[page.said]
    values[page.shown] = page.run(values, progress=silent)[page.shown]
    paths = [Path(path) for path in page.write(values)[page.files]["value"]]
    assert [path.name for path in paths] == ["classes.txt", "sclip.labels.png", "sclip.overlay.png"]
    assert paths[0].read_text() == "tomato\nbrick\nleaf\n"
    assert np.array_equal(np.asarray(Image.open(paths[1])), values[page.shown].found[0].labels)
    (path,) = page.write_scores(values, progress=silent)[page.files]["value"]
    kept = np.load(path)
    assert np.array_equal(kept["scores"].argmax(0), values[page.shown].found[0].labels)
    assert kept["scores"].shape == (3, 72, 90)


def test_what_cannot_be_computed_is_told(page, tmp_path, monkeypatch):
    def fails(error):
        monkeypatch.setattr(page.session, "run", lambda *_: (_ for _ in ()).throw(error))
        return page.run(values_of(page, tmp_path), progress=silent)

    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")):
        assert 'role="alert"><p>out of memory' in fails(error)[page.said]
    assert "No space left" in fails(OSError(28, "No space left on device"))[page.said]
    with pytest.raises(RuntimeError, match="mistake of ours"):
        fails(RuntimeError("a mistake of ours"))


@pytest.mark.parametrize(
    "index", [None, 3, "x", [1], [1, 2, 3], ["a", "b"], [float("nan"), 1], [1e300, 1], {}, [None, 1]]
)
def test_a_click_that_no_mouse_makes(page, tmp_path, index):
    at = SimpleNamespace(index=index)
    values = values_of(page, tmp_path)
    done = page.run(values, progress=silent)
    for looked in (
        page.look_at_upload(values, at, progress=silent),
        page.look_at_overlay({**values, page.shown: done[page.shown]}, at, progress=silent),
    ):
        assert "that is no point of the picture" in looked[page.said]
    assert page.take_example(at) == {}


def test_a_picture_that_has_ended_and_one_that_is_used(page, tmp_path):
    values = values_of(page, tmp_path)
    os.utime(values[page.picture], (0, 0))
    page.change(values)
    assert values[page.picture].stat().st_mtime > 0, "what is used is kept for longer"
    values[page.picture].unlink()
    assert "give it again" in page.run(values, progress=silent)[page.said]


def test_one_method_alone_and_a_click_on_it(page, tmp_path):
    values = values_of(page, tmp_path)
    done = page.run(values, progress=silent)
    assert [done[panel]["visible"] for panel in page.overlays] == [True, False]
    at = SimpleNamespace(index=[7 * 45, 7 * 30])  # 90 pixels are shown as 630
    looked = page.look_at_overlay({**values, page.shown: done[page.shown]}, at, progress=silent)
    assert "x=45, y=30" in looked[page.title]
    assert "press Run again" in page.look_at_overlay(values, at, progress=silent)[page.said]
