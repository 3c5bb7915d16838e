"""CorrCLIP's names: others' but for a word."""

import pytest

from sclip_seg.words.vocabulary import Vocabulary

pytestmark = pytest.mark.filterwarnings("ignore:vocabulary coco_object:UserWarning")  # its "bed"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        *(("voc21", "voc21_bg26_plain"), ("voc20", "voc20_plain"), ("coco_object", "coco_object_bg17")),
        *((name, name) for name in ("context60", "context59", "coco_stuff171", "cityscapes", "ade20k")),
    ],
)
def test_corrclip_asks_for_people_and_no_bed_behind(name, base):
    classes = Vocabulary.load(base).classes
    found = [tuple("people" if query == "person" else query for query in queries) for queries in classes]
    if name == "coco_object":
        found[0] = tuple(query for query in found[0] if query != "bed")
    assert Vocabulary.load(f"{name}_corrclip").classes == tuple(found)
    assert found != [*classes]


def test_people_on_streets_are_one_query_in_its_second_version():
    plain = Vocabulary.load("cityscapes_corrclip").classes
    found = tuple(queries if queries != ("people",) else ("people, person",) for queries in plain)
    assert Vocabulary.load("cityscapes_corrclip2").classes == found
