"""Long lists of words: how many, what they are without, and how they are joined."""

import pytest

from sclip_seg.errors import InputError
from sclip_seg.toy.world import GROUNDS, THINGS
from sclip_seg.words.lists import word_list


def test_imagenet_has_every_first_lemma_once_and_its_definitions():
    found = word_list("imagenet")
    assert len(found.words) == len({*found.words}) == 20_102
    assert sum(map(len, found.definitions.values())) == 21_844
    assert found.words[0] != found.words[-1]
    assert "freshwater dace-like game fish" in found.definitions["tench"][0]
    assert len(found.definitions["crane"]) == 2


def test_benchmarks_has_the_names_of_all_classes_and_no_background():
    words = word_list("benchmarks").words
    assert {"sky", "person", "dining table", "brick", "wall brick", "car", *THINGS, *GROUNDS} <= {*words}
    assert not {"background", "diningtable", "sky-other", "people, person"} & {*words}
    assert list(words) == sorted({*words})


def test_lists_are_joined_and_words_dropped(tmp_path):
    (tmp_path / "own.txt").write_text("Sky; heaven\nthneed\n")
    own, all_words = word_list(str(tmp_path / "own.txt")), word_list("benchmarks")
    assert (own.name, own.words) == ("own", ("Sky", "thneed"))
    joined = word_list(f"{tmp_path / 'own.txt'} + benchmarks")
    assert joined.words[:2] == own.words
    assert len(joined.words) == len(all_words.words) + 1
    assert word_list("toy_stuff").words == (*THINGS, *GROUNDS)
    assert "background" not in word_list("voc21_plain").words
    less = all_words.without(["SKY", "thneed"])
    assert {*all_words.words} - {*less.words} == {"sky"}
    assert less.told != all_words.told
    assert own.without([]) is own


def test_what_is_no_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="no list of words is called 'wordnet'; there are benchmarks, imagenet"):
        word_list("imagenet+wordnet")
    with pytest.raises(InputError, match="is missing"):
        word_list(str(tmp_path / "no.txt"))
    with pytest.raises(InputError, match="no word of benchmarks is left"):
        word_list("benchmarks").without(word_list("benchmarks").words)
