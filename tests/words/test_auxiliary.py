"""Auxiliary texts: a definition or a synonym of each class, line by line beside a vocabulary."""

import warnings
from pathlib import Path

import open_clip
import pytest
from trees import CONFIGS, dataset_settings

from sclip_seg.words.templates import TEMPLATES
from sclip_seg.words.vocabulary import Vocabulary

FOLDER = Path(__file__).parents[2] / "sclip_seg" / "words" / "auxiliary"
# Benchmark, the vocabulary the lines run beside, and some classes with a word that their line must hold.
FILES = {
    "voc21_definitions": ("voc21", "voc21_itaclip", {"bird": "feathered", "table": "meals", "train": "rails"}),
    "context60_definitions": ("context60", "context60_itaclip", {"bag": "opening", "mouse": "pointer", "wood": "tree"}),
    "coco_stuff171_definitions": (
        "coco_stuff164k",
        "coco_stuff171_itaclip",
        {"person": "human", "toothbrush": "bristles", "banner": "strip", "wood": "tree"},
    ),
    "coco_object_synonyms": (
        "coco_object",
        "coco_object_itaclip",
        {"person": "human being", "couch": "sofa", "hair drier": "blow dryer"},
    ),
    "cityscapes_synonyms": ("cityscapes", "cityscapes_itaclip", {"road": "street", "bicycle": "bike"}),
}
NO_TEXT = "-"
ALL_TEMPLATES = {template for templates in TEMPLATES.values() for template in templates}


def lines_of(name):
    """All lines that are not comments, blank ones too."""
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line for line in lines if not line.startswith("#")]


def vocabulary_of(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "bed" of COCO-Object
        return Vocabulary.load(FILES[name][1])


def texts_of(name):
    return [line for line in lines_of(name) if line != NO_TEXT]


def tokens(text):
    """The number of CLIP's tokens, start and end included, nothing cut off."""
    return int((open_clip.tokenize([text], context_length=300) != 0).sum())


def test_every_file_is_tested():
    assert sorted(FILES) == sorted(path.stem for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_line_for_each_class_of_the_benchmark(name):
    benchmark, vocabulary, _ = FILES[name]
    own = dataset_settings(benchmark, CONFIGS)[1]["vocabulary"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(lines_of(name)) == len(Vocabulary.load(vocabulary)) == len(Vocabulary.load(own))


@pytest.mark.parametrize("name", FILES)
def test_the_background_alone_has_no_text(name):
    background = dataset_settings(FILES[name][0], CONFIGS)[1]["background"]
    without = [index for index, line in enumerate(lines_of(name)) if line == NO_TEXT]
    assert without == ([] if background is None else [background])


@pytest.mark.parametrize("name", FILES)
def test_lines_stand_at_their_classes(name):
    names, lines = vocabulary_of(name).names, lines_of(name)
    for query, word in FILES[name][2].items():
        assert word in lines[names.index(query)]


@pytest.mark.parametrize("name", FILES)
def test_texts_are_plain(name):
    for text in texts_of(name):
        assert text, "empty line"
        assert text == " ".join(text.split())
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz-, "), text  # no ";", no full stop, no capital
        assert text[0].isalpha()
        assert text[-1].isalpha()


@pytest.mark.parametrize("name", FILES)
def test_no_text_twice(name):
    texts = texts_of(name)
    assert not [text for text in set(texts) if texts.count(text) > 1]


@pytest.mark.parametrize("name", FILES)
def test_no_text_is_a_query_of_its_class_nor_of_another(name):
    queries = {query.lower() for query in vocabulary_of(name).queries}
    assert not queries & set(texts_of(name))


@pytest.mark.parametrize("name", FILES)
def test_texts_are_as_long_as_their_kind(name):
    shortest, longest = (6, 18) if name.endswith("definitions") else (1, 6)
    assert not [text for text in texts_of(name) if not shortest <= len(text.split()) <= longest]


@pytest.mark.parametrize("name", FILES)
def test_clip_reads_every_text_whole_in_the_longest_template(name):
    template = max(ALL_TEMPLATES, key=tokens)
    assert tokens("a " * 100) == 102  # counted, not cut
    assert max(tokens(template.format(text)) for text in texts_of(name)) <= 77
