"""`sclip_seg.load` and what it hands back: pictures of every kind, words that change, a benchmark's own settings."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from runs import tool

import sclip_seg
from sclip_seg.drawing import overlay
from sclip_seg.errors import InputError
from sclip_seg.toy.make import make
from sclip_seg.toy.world import GROUNDS, THINGS, draw
from sclip_seg.words import text
from sclip_seg.words.read import split_words

ROOT = Path(__file__).parents[2]
WORDS = "tomato, leaf; cactus, lemon, button"
LONE = ["tomato", "leaf", "lemon", "button"]  # without synonyms


@pytest.fixture(scope="module")
def seg():
    return sclip_seg.load("sclip", "toy", device="cpu")


@pytest.fixture(scope="module")
def photo():
    """A scene (72, 96, 3) uint8 RGB."""
    return draw(1, 4, 72, 96, count=(4, 6)).image


def same(one, other):
    return one.labels.shape == other.labels.shape and (one.labels == other.labels).mean() >= 0.999


def test_a_picture_is_the_same_in_every_form(seg, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    first = seg(photo, WORDS)
    assert first.labels.shape == (72, 96)
    assert len(first.shares) > 2
    forms = [str(tmp_path / "photo.png"), tmp_path / "photo.png", Image.fromarray(photo), photo[:, ::-1][:, ::-1]]
    for form in forms:
        np.testing.assert_array_equal(seg(form).labels, first.labels)
        np.testing.assert_array_equal(seg(form).scores, first.scores)
    for several in (forms, tuple(forms)):
        found = seg(several)
        assert isinstance(found, list)
        assert all(same(one, first) for one in found)
    assert isinstance(seg([photo]), list)


def test_pictures_of_every_kind(seg, photo, tmp_path):
    """Grey, one with alpha, one of a palette and 16-bit ones are their 8-bit colour versions, from file and memory."""
    seg.set_words(WORDS)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    threefold = np.dstack([grey] * 3)
    indexed = Image.fromarray(photo).quantize(32)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    kinds = {
        "grey": (Image.fromarray(grey), threefold),
        "alpha": (Image.fromarray(np.dstack([photo, grey])), photo),
        "indexed": (indexed, np.array(indexed.convert("RGB"))),
        "deep": (deep, threefold),
    }
    for name, (picture, plain) in kinds.items():
        expected = seg(plain)
        picture.save(tmp_path / f"{name}.png")
        assert same(seg(tmp_path / f"{name}.png"), expected), name
        assert same(seg(picture), expected), name
    cv2.imwrite(str(tmp_path / "deep_colour.png"), photo[..., ::-1].astype(np.uint16) * 257)
    assert same(seg(tmp_path / "deep_colour.png"), seg(photo))
    assert same(seg(grey), seg(threefold))
    assert same(seg(np.dstack([photo, grey])), seg(photo))


def test_exif_turns_a_picture(seg, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    Image.fromarray(photo).save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    with Image.open(tmp_path / "turned.jpg") as turned:
        upright = np.rot90(np.array(turned), -1)
        found = [seg(tmp_path / "turned.jpg", WORDS), seg(turned)]
    expected = seg(upright)
    for one in found:
        assert one.labels.shape == (96, 72)
        assert (one.labels == expected.labels).mean() >= 0.99  # decoders of JPEG differ in the last bits


@pytest.mark.parametrize("method", ["sclip", "naclip", "resclip"])
def test_sizes_together_as_one_by_one(photo, method):
    seg = sclip_seg.load(method, "toy", device="cpu")
    sizes = [(72, 96), (72, 96), (33, 70), (64, 64), (5, 7), (1, 1), (72, 96)]
    pictures = [np.ascontiguousarray(photo[:height, :width]) for height, width in sizes]
    together = seg(pictures, WORDS)
    assert [found.labels.shape for found in together] == sizes
    for picture, found in zip(pictures, together, strict=True):
        assert same(seg(picture), found)
    for one, other in zip(seg.stream(iter(pictures)), together, strict=True):
        assert same(one, other)


def test_other_words_leave_the_tower_and_encode_only_what_is_new(seg, photo, monkeypatch):
    prompts = []
    plain = text.encode_prompts
    monkeypatch.setattr(text, "encode_prompts", lambda clip, tokens: prompts.append(len(tokens)) or plain(clip, tokens))
    before = {name: id(parameter) for name, parameter in seg.model.named_parameters()}
    first = seg(photo, ["kite", "moon; plum"])
    assert sum(prompts) == 3 * len(seg.model.templates)
    prompts.clear()
    again = seg(photo)
    other = seg(photo, "plum, kite", background="moon")
    assert not prompts
    assert other.classes == ("background", "plum", "kite")
    seg(photo, "plum, egg")
    assert sum(prompts) == len(seg.model.templates)
    back = seg(photo, ["kite", "moon; plum"])
    np.testing.assert_array_equal(back.labels, first.labels)
    np.testing.assert_array_equal(again.scores, first.scores)
    assert (first.classes, first.background) == (("kite", "moon"), None), "an older prediction keeps its own"
    assert before == {name: id(parameter) for name, parameter in seg.model.named_parameters()}


def test_words_do_not_depend_on_those_before(photo):
    """A predictor that had other words equals a new one; scores are those of a bank encoded at once."""
    seg = sclip_seg.load("sclip", "toy", device="cpu")
    seg(photo, "egg, kite; moon")
    fresh = sclip_seg.load("sclip", "toy", device="cpu")
    np.testing.assert_allclose(seg(photo, WORDS).scores, fresh(photo, WORDS).scores, atol=1e-5)


@pytest.mark.parametrize("method", ["sclip", "naclip"])
def test_dataset_gives_what_the_tool_predicts(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "data" / "toy", count=4, seed=0)
    arguments = [str(ROOT / "configs" / f"{method}.py"), "--dataset", "toy", "--backbone", "toy", "--out", "maps"]
    assert tool.main([*arguments, "--cfg-options", "test_dataloader.num_workers=0"]) == 0
    seg = sclip_seg.load(method, "toy", "toy", device="cpu")
    assert seg.classes == ("background", *THINGS)
    paths = sorted((tmp_path / "data/toy/images/val").iterdir())
    for path, found in zip(paths, seg(paths), strict=True):
        np.testing.assert_array_equal(found.labels, np.asarray(Image.open(f"maps/{path.name}")))
        assert found.background == 0


def test_background_words_are_one_class(seg, photo):
    forms = ["sand; water", "sand, water", ["sand", "water"], [["sand", "water"]]]
    found = [seg(photo, WORDS, background=form) for form in forms]
    assert found[0].classes == ("background", "tomato", "leaf", "lemon", "button")
    assert found[0].background == 0
    assert found[0].queries[:2] == ("sand", "water")
    for one in found[1:]:
        np.testing.assert_array_equal(one.labels, found[0].labels)
    assert seg(photo, WORDS).background is None
    with pytest.raises(InputError, match="need the words of the classes"):
        seg(photo, background="sand")


def test_scores(seg, photo):
    """Without synonyms they are a softmax; with some, of the class's best word only; the best class is the label."""
    lone, several = seg(photo, LONE), seg(photo, WORDS)
    for found in (lone, several):
        assert "scores" not in vars(found), "computed when asked for"
        assert found.scores.shape == (4, 72, 96)
        assert found.scores.dtype == np.float32
        assert found.scores is found.scores
        assert found.scores.min() >= 0
        total = found.scores.sum(0)
        assert total.max() <= 1 + 1e-5
        chosen = np.take_along_axis(found.scores, found.labels[None], 0)[0]
        np.testing.assert_allclose(chosen, found.scores.max(0), atol=1e-6)
    np.testing.assert_allclose(lone.scores.sum(0), 1, atol=1e-5)
    assert several.scores.sum(0).min() < 1 - 1e-4
    assert several.cosines.shape == (5, 72, 96)
    exponent = seg.model.logit_scale * lone.cosines.astype(np.float64)
    softmax = np.exp(exponent) / np.exp(exponent).sum(0)
    np.testing.assert_allclose(lone.scores, softmax, atol=1e-4)


def test_shares(seg, photo):
    found = seg(photo, [*THINGS, *GROUNDS])
    shares = found.shares
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1)
    for name, share in shares.items():
        assert share == (found.labels == found.classes.index(name)).mean() > 0


@pytest.mark.parametrize(
    ("words", "classes"),
    [
        ("cat", [["cat"]]),
        (" cat ,dog ; puppy,  old brick wall", [["cat"], ["dog", "puppy"], ["old brick wall"]]),
        (["cat", "dog; puppy"], [["cat"], ["dog", "puppy"]]),
        (("a cat, asleep", ["dog", "puppy"]), [["a cat, asleep"], ["dog", "puppy"]]),
        ("Katze, café", [["Katze"], ["café"]]),
    ],
)
def test_split_words(words, classes):
    assert split_words(words) == classes


@pytest.mark.parametrize(
    "words", ["", "  ", [], [""], "cat,,dog", "cat, dog;", ";", ["cat", ""], ["cat", []], ["", ""]]
)
def test_empty_words_are_an_error_in_words(seg, photo, words):
    seg.set_words(WORDS)
    with pytest.raises(InputError, match=r"no words|empty word"):
        seg(photo, words)
    assert seg.classes == ("tomato", "leaf", "lemon", "button"), "what was before stays"


def test_no_words_at_all():
    with pytest.raises(InputError, match="say what to look for"):
        sclip_seg.load("sclip", "toy", device="cpu")(np.zeros((8, 8, 3), np.uint8))


def test_forgotten_words_are_asked_for_again(seg, photo):
    seg(photo, WORDS)
    seg.forget_words()
    with pytest.raises(InputError, match="say what to look for"):
        seg(photo)


@pytest.mark.parametrize(
    ("choice", "near"),
    [
        (dict(method="sclipp"), "sclip"),
        (dict(backbone="openai_vit_b61"), "openai_vit_b16"),
        (dict(dataset="voc12"), "voc21"),
        (dict(method="nowhere/own.py"), "nowhere/own.py"),
        (dict(options={"model.precison": "fp32"}), "did you mean precision"),
        (dict(options={"modle.precision": "fp32"}), "did you mean model"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(choice, near):
    with pytest.raises(InputError, match=near):
        sclip_seg.load(**dict(method="sclip", backbone="toy", device="cpu") | choice)


@pytest.mark.parametrize(
    "bad",
    [
        "missing.png",
        Path("missing.png"),
        3,
        None,
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture(seg, bad):
    with pytest.raises(InputError, match="picture"):
        seg(bad, WORDS)
    with pytest.raises(InputError, match="picture"):
        seg([np.zeros((8, 8, 3), np.uint8), bad])


def test_two_classes_of_one_name_are_refused(seg):
    before = seg.classes
    for words, background in ((["leaf; cactus", "leaf; button"], None), ("background, tomato", "sand; water")):
        with pytest.raises(InputError, match=r"two classes are called '(leaf|background)'"):
            seg.set_words(words, background)
    assert seg.classes == before


def test_pictures_before_a_bad_one_are_predicted(seg):
    good = np.zeros((70, 80, 3), np.uint8)
    seg.set_words("tomato, leaf")
    stream = seg.stream([good, good, "absent.jpg", good])
    assert [next(stream).labels.shape for _ in range(2)] == [(70, 80)] * 2
    with pytest.raises(InputError, match=r"absent\.jpg"):
        next(stream)


@pytest.mark.parametrize("options", [{"model.window": 3}, {"model.window.crop": "many"}])
def test_values_of_the_wrong_kind_are_told(options):
    with pytest.raises(InputError, match=r"model\.window.* must be"):
        sclip_seg.load("sclip", "toy", options=options)


def test_a_device_that_is_not_there_is_told():
    with pytest.raises(InputError, match="the device abacus cannot be had"):
        sclip_seg.load("sclip", "toy", device="abacus")


def test_figure_is_of_the_same_picture(seg, photo):
    found = seg(photo, WORDS)
    drawn = found.figure(photo)
    assert drawn.width >= photo.shape[1]
    assert drawn.height > photo.shape[0]
    assert np.array_equal(np.asarray(drawn)[:72, :96], overlay(photo, found.labels, found.palette))
    with pytest.raises(InputError, match="is 40 x 30 pixels, and this was found in one of 96 x 72"):
        found.figure(photo[:30, :40])
