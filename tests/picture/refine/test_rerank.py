"""Re-ranking: who is asked, about what, what is kept, and how answers are read."""

import numpy as np
import pytest
import tiny_llava
import torch

from sclip_seg.errors import InputError
from sclip_seg.picture.refine import image_text
from sclip_seg.picture.refine.image_text import ImageTextToText
from sclip_seg.picture.refine.rerank import Answers, Rerank, parsed
from sclip_seg.picture.scores import DenseMaps, Labelling

NAMES = ["cat", "dog", "barn owl"]


class Stub:
    """Puts the last name first, and says what it was asked."""

    told = "stub#1"

    def __init__(self):
        self.asked = []

    def rank(self, crop, names):
        self.asked.append((crop.shape, list(names)))
        return [len(names) - 1, *range(len(names) - 1)]


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("[barn owl, cat, dog]", [2, 0, 1]),
        ("Sure: ['dog', \"cat\", 'barn owl'] and [cat]", [1, 0, 2]),
        ("[dog, cat]", [0, 1, 2]),
        ("[dog, cat, owl]", [0, 1, 2]),
        ("[Dog, cat, barn owl]", [0, 1, 2]),
        ("[dog, dog, cat]", [0, 1, 2]),
        ("dog, cat, barn owl", [0, 1, 2]),
        ("[dog, cat, barn owl", [0, 1, 2]),
        ("", [0, 1, 2]),
    ],
)
def test_an_answer_is_its_first_list_or_the_order_that_was(answer, order):
    assert parsed(answer, NAMES) == order


def test_answers_are_kept_by_crop_names_and_who_was_asked(tmp_path):
    stub, crops = Stub(), [np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)]
    answers = Answers(str(tmp_path))
    for _ in range(2):
        assert answers.order(stub, crops[0], NAMES) == [2, 0, 1]
    assert Answers(str(tmp_path)).order(stub, crops[0], NAMES) == [2, 0, 1]
    assert len(stub.asked) == 1
    answers.order(stub, crops[1], NAMES)
    answers.order(stub, crops[0], NAMES[:2])
    stub.told = "stub#2"
    answers.order(stub, crops[0], NAMES)
    assert len(stub.asked) == 4
    for path in tmp_path.glob("*.json"):
        path.write_text('[0, "x"]')
    assert Answers(str(tmp_path)).order(stub, crops[0], NAMES) == [2, 0, 1]
    Answers(None).order(stub, crops[0], NAMES)
    assert len(stub.asked) == 6
    stub.rank = lambda crop, names: [0, 0, 1]
    with pytest.raises(InputError, match="which is no order of 3 names"):
        Answers(None).order(stub, crops[1], NAMES)


class Seen:
    """A picture of 8 x 12, of which labels have half the size."""

    labelling = Labelling(torch.ones(3, dtype=torch.long), None)
    names = tuple(NAMES)

    def pixels(self):
        return np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def test_unsure_regions_alone_are_asked_about():
    p = torch.zeros(3, 4, 6)
    p[:, :, :3] = torch.tensor([0.4, 0.35, 0.25])[:, None, None]  # unsure: a cat
    p[:, :, 3:] = torch.tensor([0.2, 0.7, 0.1])[:, None, None]  # sure: a dog
    p[:, 0, 5] = torch.tensor([0.2, 0.3, 0.5])  # unsure, and too small
    labels, stub = p.argmax(0), Stub()
    step = Rerank(stub, margin=0.21, top=2, least=2, folder=None)
    found = step.revise(labels, DenseMaps(p), Seen())
    assert stub.asked == [((8, 6, 3), ["cat", "dog"])]
    expected = labels.clone()
    expected[:, :3] = 1
    assert torch.equal(found, expected)
    with pytest.raises(InputError, match="has a method rank, unlike 'llava'"):
        Rerank("llava")
    assert torch.equal(Rerank(stub, margin=0.0, folder=None).revise(labels, DenseMaps(p), Seen()), labels)


def test_a_local_model_is_asked_and_its_digest_told(tmp_path, monkeypatch, capfd):
    pytest.importorskip("transformers", reason="the adapter needs transformers")
    folder = tiny_llava.write(tmp_path / "llava", ["cat", "dog"])
    asked = ImageTextToText(str(folder), tokens=4)
    crop = np.zeros((20, 30, 3), np.uint8)
    assert asked.rank(crop, NAMES) == [0, 1, 2]  # a random model gives no list
    own, said = asked._ask, []

    def ask(**settings):
        said.append(settings["text"][0]["content"][1]["text"])
        own(**settings)
        return [{"generated_text": "[dog, barn owl, cat]"}]

    monkeypatch.setattr(asked, "_ask", ask)
    assert asked.rank(crop, NAMES) == [1, 2, 0]
    assert said[0].endswith("[cat, dog, barn owl]")
    assert asked.told.startswith("llava#")
    assert ImageTextToText(str(folder), tokens=5).told != asked.told
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no weights"):
        ImageTextToText(str(tmp_path / "empty"))
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is no model that answers about pictures"):
        image_text._pipeline(folder)
