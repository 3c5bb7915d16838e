"""Vocabularies: the published lists, the file format, and what is wrong with bad ones."""

import warnings

import pytest
from counts import COUNTS
from mmseg.registry import DATASETS
from trees import BENCHMARKS, CONFIGS, dataset_settings

from sclip_seg.errors import InputError
from sclip_seg.words.vocabulary import Vocabulary, shipped

FAULTY = {"coco_object_bg26", "coco_object_bg17", "coco_object_itaclip", "coco_object_lposs"}


def load(spec, name=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Vocabulary.load(spec, name)


def classes_of(dataset_type):
    return [name.strip() for name in DATASETS.get(dataset_type).METAINFO["classes"]]


def test_every_list_is_shipped_and_counted():
    assert sorted(COUNTS) == shipped()


@pytest.mark.parametrize("name", COUNTS)
def test_counts_as_published(name):
    vocabulary = load(name)
    assert (len(vocabulary), len(vocabulary.queries)) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(COUNTS.keys() - FAULTY))
def test_no_query_of_two_classes(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Vocabulary.load(name)


@pytest.mark.parametrize("name", sorted(FAULTY))
def test_published_fault_in_bed_is_kept_and_told(name):
    with pytest.warns(UserWarning, match=r"'bed' stands in class 0 \(sky\) and in class 60 .* IoU is 0"):
        vocabulary = Vocabulary.load(name)
    assert vocabulary.classes[60] == ("bed",)
    assert "bed" in vocabulary.classes[0]


def test_mended_list_differs_in_bed_alone():
    faulty, mended = load("coco_object_bg26"), load("coco_object_mended")
    assert tuple(query for query in faulty.classes[0] if query != "bed") == mended.classes[0]
    assert faulty.classes[1:] == mended.classes[1:]


@pytest.mark.parametrize("name", ["voc21_bg26", "voc21_bg26_plain", "voc21_plain"])
def test_voc_names_are_mmsegs_but_ship_and_table(name):
    synonyms = {"background": None, "person": "person", "tvmonitor": None}
    for own, query in zip(classes_of("PascalVOCDataset"), load(name).names, strict=True):
        if own not in synonyms:
            assert query == {"boat": "ship", "diningtable": "table"}.get(own, own)


def test_voc20_is_voc21_without_background():
    assert load("voc20_synonyms").classes == load("voc21_bg26").classes[1:]
    assert load("voc20_plain").classes == load("voc21_plain").classes[1:]


def test_synonyms_as_published():
    voc, coco = load("voc21_bg26"), load("coco_object_bg26")
    garments = ("shirt", "jeans", "dress", "sweater", "skirt", "jacket")
    assert voc.classes[15] == ("person", *(f"person in {garment}" for garment in garments))
    assert voc.classes[20] == ("television monitor", "tv monitor", "monitor", "television", "screen")
    assert coco.classes[1] == (*voc.classes[15], "body")
    assert coco.classes[0] == voc.classes[0] == load("voc21_bg26_plain").classes[0]
    cut = {"lamp", "door", "window", "wardrobe", "ceiling", "shelf", "curtain", "stair", "fence"}
    bg17 = load("coco_object_bg17").classes[0]
    assert bg17 == tuple(query for query in voc.classes[0] if query not in cut)


@pytest.mark.parametrize(
    ("name", "base", "different"),
    [
        ("voc21_lposs", "voc21_bg26_plain", dict(ship="boat", table="dining table", pottedplant="potted plant")),
        ("voc20_lposs", "voc20_plain", dict(ship="boat", table="dining table", pottedplant="potted plant")),
        ("context60_lposs", "context60", dict(pottedplant="potted plant")),
        ("context59_lposs", "context59", dict(pottedplant="potted plant")),
        ("coco_object_lposs", "coco_object_bg17", dict(airplane="aeroplane")),
        ("cityscapes_lposs", "cityscapes", dict(trafficlight="traffic light", trafficsign="traffic sign")),
    ],
)
def test_names_of_lposs_are_anothers_but_these(name, base, different):
    renamed = tuple(tuple(different.get(query, query) for query in queries) for queries in load(base).classes)
    assert load(name).classes == renamed
    assert set(different) <= {*load(base).queries}


def test_names_of_cliper():
    """Its person has commas, which are no fault in a list that is shipped."""
    voc, coco = load("voc21_cliper").classes, load("coco_object_cliper").classes
    assert load("voc20_cliper").classes == voc[1:]
    assert voc[15] == coco[1] == ("person with clothes, people, human",)
    assert coco[2:] == load("coco_object_plain").classes[2:]
    assert set(voc[0]) - set(coco[0]) == {"keyboard", "sign"}
    assert [*coco[0]] == [word for word in voc[0] if word in coco[0]]
    own = {("chair seat",), ("person with cloth people human",), ("tvmonitor screen",)}
    for name in ("context60", "context59"):
        assert {*load(f"{name}_cliper").classes} - {*load(name).classes} == own


@pytest.mark.parametrize(
    ("name", "base", "renamed"),
    [("voc21_sfp", "voc21_bg26", 7), ("voc20_sfp", "voc20_synonyms", 7), ("cityscapes_sfp", "cityscapes", 1)],
)
def test_sfp_asks_for_people(name, base, renamed):
    found = tuple(tuple(query.replace("person", "people") for query in queries) for queries in load(base).classes)
    assert load(name).classes == found
    assert sum(query.startswith("people") for query in load(name).queries) == renamed


def test_lposs_asks_for_a_monitor_in_one_word():
    assert load("voc21_lposs").names[-1] == load("voc20_lposs").names[-1] == "tvmonitor"


@pytest.mark.parametrize(
    ("name", "dataset_type", "joined"),
    [
        ("context60", "PascalContextDataset", 0),
        ("context59", "PascalContextDataset59", 0),
        ("coco_object_plain", "COCOObjectDataset", 0),
        ("coco_stuff171", "COCOStuffDataset", 15),
        ("cityscapes", "CityscapesDataset", 2),
        ("ade20k", "ADE20KDataset", 15),
        ("coco_stuff171_cliptrase", "COCOStuffDataset", 0),
        ("ade20k_cliptrase", "ADE20KDataset", 0),
        ("context60_itaclip", "PascalContextDataset", 0),
        ("coco_stuff171_itaclip", "COCOStuffDataset", 15),
        ("cityscapes_itaclip", "CityscapesDataset", 2),
        ("cityscapes_lposs", "CityscapesDataset", 0),
    ],
)
def test_names_are_mmsegs_some_written_together(name, dataset_type, joined):
    own, queries = classes_of(dataset_type), load(name).names
    different = [(a, b) for a, b in zip(own, queries, strict=True) if a != b]
    assert len(different) == joined
    assert all(a.replace(" ", "") == b for a, b in different)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_default_vocabulary_fits_its_dataset(name):
    dataset, settings = dataset_settings(name, CONFIGS)
    load(settings["vocabulary"]).check(DATASETS.get(dataset["type"]).METAINFO["classes"])


def test_queries_owner_names():
    vocabulary = Vocabulary.load(["sky; big  cloud", ["tree"], ["man", "woman"]])
    assert vocabulary.queries == ("sky", "big cloud", "tree", "man", "woman")
    assert vocabulary.owner == (0, 0, 1, 2, 2)
    assert vocabulary.names == ("sky", "tree", "man")
    assert len(vocabulary) == 3


def test_digest_sees_order_and_grouping_but_not_name_or_spelling_of_the_list():
    digest = Vocabulary.load(["a; b", "c"]).digest
    assert len(digest) == 12
    assert digest == Vocabulary.load([["a", "b"], ["c"]], name="other").digest
    others = (["a", "b; c"], ["b; a", "c"], ["c", "a; b"], ["a; b; c"], ["a; b", "d"])
    assert digest not in {Vocabulary.load(other).digest for other in others}


def test_file_with_comments_bom_and_windows_line_ends(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeff# mine\r\nsky; cloud\r\ntree\r\n".encode())
    vocabulary = Vocabulary.load(str(path))
    assert vocabulary == Vocabulary("mine", (("sky", "cloud"), ("tree",)))


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("sky")
    assert Vocabulary.load("mine.txt").classes == (("sky",),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# list\nsky\n\ntree\n", r"mine.txt, line 3: empty line"),
        ("sky\n\n", r"line 2: empty line"),
        ("sky\n  \n", r"line 2: empty line"),
        ("sky; ; cloud\n", r"line 1: empty query"),
        ("sky;\n", r"line 1: empty query"),
        ("sky; Sky\n", r"line 1: query 'sky' stands twice"),
        ("", r"mine.txt is empty"),
        ("# nothing\n", r"mine.txt is empty"),
        ("sk\xff\n", r"not UTF-8: line 1, byte 2 \(0xff\)"),
    ],
)
def test_faults_of_a_file(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        Vocabulary.load(str(path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("voc21_bg62", r"no vocabulary named 'voc21_bg62'; near: voc21_bg26.*shipped: ade20k"),
        ("folder/mine.txt", r"folder/mine.txt is missing"),
        ([], r"empty"),
        (["sky", ""], r"entry 1: empty line"),
        ([["sky", ""]], r"entry 0: empty query"),
        ([[]], r"entry 0: empty query"),
        (["sky", 3], r"entry 1: 3 is no class"),
        ([["sky", 3]], r"entry 0: .* is no class"),
    ],
)
def test_faults_of_a_spec(spec, message):
    with pytest.raises(InputError, match=message):
        Vocabulary.load(spec)


def test_shared_query_with_other_queries_left():
    with pytest.warns(UserWarning, match=r"'sky' stands in class 0 \(air\) .*only its other queries"):
        Vocabulary.load(["air; Sky", "sky; cloud"])


def test_comma_separated_file_of_the_official_codes_is_told(tmp_path):
    path = tmp_path / "cls_voc21.txt"
    path.write_text("sky, wall, tree\naeroplane\n")
    with pytest.warns(UserWarning, match=r"line 1: a comma does not separate queries"):
        Vocabulary.load(str(path))


def test_count_that_differs_from_the_datasets():
    with pytest.raises(InputError, match=r"voc21_plain has 21 classes \(background, aeroplane") as caught:
        load("voc21_plain").check(classes_of("PascalVOC20Dataset"))
    assert "20 (aeroplane, bicycle" in str(caught.value)
    assert "voc20_plain, voc20_sfp, voc20_synonyms" in str(caught.value)
