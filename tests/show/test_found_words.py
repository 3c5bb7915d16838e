"""Words that nobody gave, in the Python API and in `sclip-seg demo`; and a memory beside words."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sclip_seg
from sclip_seg.config import WORDS as WITHOUT_DATASET
from sclip_seg.errors import InputError
from sclip_seg.evaluate import remember_command, remembered
from sclip_seg.show import demo_command
from sclip_seg.toy.world import draw

TOY = ("--backbone", "toy", "--device", "cpu", "--cfg-options", "model.templates=photo")


@pytest.fixture(scope="module")
def seg():
    return sclip_seg.load("sclip", "toy", device="cpu", options={"model.templates": "photo"})


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index in range(2):
        Image.fromarray(scene(index)).save(f"photos/{index}.png")
    return Path("photos")


def scene(index):
    return draw(7, index, 80, 96, count=(4, 6)).image


def test_auto_finds_words_of_a_picture_or_of_several(seg, photos):
    first = seg(scene(0), "auto")
    assert list(first.classes) == [word.name for word in first.found.words]
    assert set(first.shares) <= set(first.classes)
    other = seg(scene(1), sclip_seg.AutoWords(also=["zebra"], drop=["lemon"]))
    assert "zebra" in other.classes
    assert "lemon" not in other.classes
    both = seg([scene(0), photos / "1.png"], "auto")
    assert both[0].classes == both[1].classes
    assert both[0].found is both[1].found
    assert seg(scene(1)).found is both[0].found  # they stay
    assert seg(scene(1), ["sand", "lemon"]).found is None
    ground = seg(scene(0), "auto", background=[first.classes[0], "zebra"])
    assert ground.classes[0] == "background"
    assert first.classes[0] not in ground.classes
    np.testing.assert_array_equal(seg(scene(0), "auto").labels, first.labels)
    with pytest.raises(InputError, match=r"nowhere\.png"):
        seg("nowhere.png", "auto")
    with pytest.raises(InputError, match="no words"):
        seg(scene(0))


def test_demo_writes_the_words_that_it_found(photos, capsys):
    assert demo_command.main([str(photos), *TOY, "--classes", "auto", "--out-dir", "all"]) == 0
    found = json.loads(Path("all/words.json").read_text())
    assert found["how"].startswith("auto[benchmarks#")
    assert f"{found['words'][0]['name']} {found['words'][0]['share']:.0%} (sure" in capsys.readouterr().out
    arguments = [str(photos), *TOY, "--classes", "auto", "--each", "--also", "zebra", "--clusters", "4"]
    assert demo_command.main([*arguments, "--out-dir", "each"]) == 0
    own = [json.loads(Path(f"each/{index}.words.json").read_text()) for index in range(2)]
    assert own[0] != own[1]
    assert all("zebra" in {word["name"] for word in found["words"]} for found in own)
    assert not Path("each/words.json").exists()
    assert Path("each/1.labels.png").is_file()


def test_demo_knows_a_thing_by_memory_alone(photos, capsys):
    clicks = [{"picture": "0.png", "name": "my thing", "box": [0, 0, 80, 96]}]
    Path("clicks.json").write_text(json.dumps(clicks))
    memory = ["mine", str(photos), "clicks.json", "--backbone", "toy"]
    assert remember_command.main([*memory, "--cfg-options", "model.templates=photo"]) == 0
    with_memory = [str(photos), *TOY, "--classes", "sand, lemon", "--memory", "mine"]
    assert demo_command.main([*with_memory, "--out-dir", "out"]) == 0
    labels = np.asarray(Image.open("out/0.labels.png"))
    assert (labels == 2).mean() > 0.9  # whatever its name is, its pixels are those that were remembered
    assert "my thing" in capsys.readouterr().out
    settings = remembered.with_memory({"model.templates": "photo"}, "sclip", WITHOUT_DATASET, "toy", "mine")
    found = sclip_seg.load("sclip", "toy", device="cpu", options=settings)(scene(0), ["sand", "lemon", "my thing"])
    assert all(0 < one["score"] <= 1 for one in found.masks())  # of probabilities, which have no scale
    np.testing.assert_array_equal(found.certainty[1], found.scores.max(0))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--classes", "cat", "--words", "imagenet"), "--words goes with --classes auto"),
        (("--classes", "cat", "--each"), "--each goes with --classes auto"),
        (("--classes", "auto", "--memory", "x"), "not with --classes auto"),
        (("--dataset", "voc21", "--drop", "cat"), "--drop goes with"),
    ],
)
def test_options_that_do_not_go_together(arguments, told, capsys):
    with pytest.raises(SystemExit):
        demo_command.parse(["photos", *arguments])
    assert told in capsys.readouterr().err
