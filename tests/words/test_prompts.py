"""What the text tower cannot read is told: prompts beyond its context, words that it never learned."""

import json
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sclip_seg
from sclip_seg.show import demo_command
from sclip_seg.toy import captions, rich_world, train
from sclip_seg.toy.world import GROUNDS, THINGS
from sclip_seg.words import prompts
from sclip_seg.words.prompts import tell_of_prompts
from sclip_seg.words.templates import TEMPLATES
from sclip_seg.words.vocabulary import FOLDER, Vocabulary, shipped

WORDS = st.sampled_from(["tomato", "a", "very", "old", "wall", "naïve", "日本", "x1", "golden retriever", "&amp;"])


class Tower:
    """A text tower of some context, as far as it is asked."""

    def __init__(self, context):
        self.context_length = context


@contextmanager
def heard():
    """The warnings of a block, as a list of texts that is filled at its end."""
    texts = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [str(warning.message) for warning in caught]


def told(context, queries, templates=("a photo of a {}.",), arch="ViT-B-16"):
    with heard() as texts:
        tell_of_prompts(Tower(context), arch, list(queries), tuple(templates))
    return " ".join(texts)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=9).map(" ".join), min_size=1, max_size=4, unique=True))
def test_what_is_cut_is_told_and_nothing_else(queries):
    tokenizer, templates = open_clip.get_tokenizer("ViT-B-16"), TEMPLATES["imagenet80"][::20]
    long = {
        query
        for query in queries
        for template in templates
        if int(tokenizer([template.format(query)], context_length=500).argmax()) + 1 > 20
    }
    text = told(20, queries, templates)
    assert bool(text) == bool(long)
    for query in list(long)[: 3 if len(long) <= 3 else 0]:
        assert repr(query if len(query) <= 40 else query[:37] + "...") in text


def test_queries_that_differ_beyond_the_cut_are_named_so():
    long = "a very long description of what it is " * 12
    text = told(77, [long + "tomato", long + "leaf", "water"])
    assert re.search(r"reads 77 tokens .* \(1\d\d\)", text)
    assert "2 of them differ only beyond the cut" in text
    assert "differ only" not in told(77, [long + "tomato", "water"])


def test_shipped_vocabularies_are_read_whole():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in shipped():
            assert not told(77, Vocabulary.load(name).queries, TEMPLATES["imagenet85"]), name
    assert (FOLDER / "toy.txt").is_file()


PLAIN = [*train.PHRASINGS, *train.GROUND_PHRASINGS, *train.PLACED]
RICH = [
    *(*captions.PHRASINGS, *captions.GROUND_PHRASINGS, *captions.PLACED, *captions.BESIDE, *captions.RELATIONS),
    *(*captions.NUMBERS.values(), *map(captions.plural, rich_world.THINGS), "a {}", "an {}"),
]


@pytest.mark.parametrize(
    ("tower", "names", "phrasings"), [("toy", [*THINGS, *GROUNDS], PLAIN), ("toy12", [*rich_world.NAMES], RICH)]
)
def test_the_shipped_words_are_those_of_the_training(tower, names, phrasings):
    known = json.loads((prompts.KNOWN / f"{tower}.words.json").read_text())
    assert known["names"] == names
    phrasings = [*phrasings, *(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)]
    used = {word for text in phrasings for word in re.findall(r"\w+", text.lower())}
    assert set(known["others"]) == used - {*names}


@pytest.fixture(scope="module")
def seg():
    return sclip_seg.load("sclip", "toy", device="cpu")


@pytest.mark.parametrize(
    ("words", "strange"),
    [
        ("cat, dog", ["'cat', 'dog'"]),
        ("Tomato, red tomato; leaf", ["'red'"]),
        ("tomatoes, grass", ["'tomatoes'"]),
        ("fish, star", ["'fish', 'star'"]),
        ("tomato, Leaf, a photo of sand", []),
    ],
)
def test_words_that_the_toy_never_learned_are_told(seg, words, strange):
    picture = np.zeros((64, 64, 3), np.uint8)
    for _ in range(2):  # from the bank in memory too
        with heard() as texts:
            seg(picture, words)
        text = " ".join(texts)
        assert bool(text) == bool(strange)
        for part in strange:
            assert f"never learned the words {part}" in text
            assert "it knows tomato, heart, brick" in text


def test_a_cached_bank_is_told_of_as_well(tmp_path):
    for _ in range(2):
        seg = sclip_seg.load("sclip", "toy", device="cpu", options={"model.text_cache": str(tmp_path)})
        with heard() as texts:
            seg(np.zeros((64, 64, 3), np.uint8), "cat, " + "tomato " * 30)
        text = " ".join(texts)
        assert "never learned the words 'cat'" in text
        assert "reads 24 tokens" in text


def test_random_weights_know_nothing_that_could_be_told():
    seg = sclip_seg.load("sclip", "toy", device="cpu", options={"model.backbone.pretrained": None})
    with heard() as texts:
        seg(np.zeros((64, 64, 3), np.uint8), "cat")
    assert not texts


def test_the_demo_says_it_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(f"{name}.png")
    arguments = ["a.png", "b.png", "--classes", "cat, tomato", "--backbone", "toy", "--device", "cpu"]
    assert demo_command.main(arguments) == 0
    assert capsys.readouterr().err.count("never learned the words 'cat'") == 1
    assert Path("work_dirs/pictures/a.labels.png").is_file()
