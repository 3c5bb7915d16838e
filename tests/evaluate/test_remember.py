"""`sclip-seg remember`, a run with its memory, and where its score stands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sclip_seg.evaluate import remember as module
from sclip_seg.evaluate import remember_command
from sclip_seg.evaluate import test as tool
from sclip_seg.evaluate.remembered import wordless
from sclip_seg.evaluate.report.gather import read
from sclip_seg.regions.memory import RegionMemory
from sclip_seg.toy.make import make
from sclip_seg.toy.world import GROUNDS, THINGS

CLASSES = ",".join((*THINGS, *GROUNDS))
PICTURES, LABELS = Path("data/toy/images/val"), Path("data/toy/labels_stuff/val")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("remembered")


@pytest.fixture
def world(folder, monkeypatch):
    """A working folder with two toy scenes."""
    monkeypatch.chdir(folder)
    make(Path("data/toy"), count=2, seed=0)
    return folder


def remember(name, labels, *more):
    return remember_command.main([name, str(PICTURES), str(labels), "--backbone", "toy", *more])


@pytest.fixture
def memory(world):
    if not Path("work_dirs/memory/both.safetensors").is_file():
        assert remember("both", LABELS, "--classes", CLASSES) == 0
    return RegionMemory.load("both")


def test_patches_are_remembered_by_the_class_that_most_of_them_is(memory):
    labelled = [np.asarray(Image.open(path)) for path in sorted(LABELS.glob("*.png"))]
    there = {(*THINGS, *GROUNDS)[value] for values in labelled for value in np.unique(values)}
    assert {*memory.names} == there
    assert memory.shots == 2
    assert memory.made["tail"].startswith("LastBlock(attention=csa")
    patches = sum((side // 8) * (other // 8) for side, other in (values.shape for values in labelled))
    assert 0.8 * patches < len(memory.labels) < 1.1 * patches
    maps = torch.arange(2 * 4 * 4, dtype=torch.float32).view(2, 4, 4) + 1
    mask = torch.zeros(8, 8)
    mask[:4, :3] = 1  # two patches whole, two half
    assert module.keys_of(maps, mask, "patch").tolist() == maps[:, :2, :2].flatten(1).T.tolist()
    mean = (maps[:, :2, :2] * torch.tensor([1, 0.5])).sum((1, 2))
    torch.testing.assert_close(module.keys_of(maps, mask, "region")[0], mean / mean.norm())
    small = torch.zeros(8, 8)
    small[7, 7] = 1
    torch.testing.assert_close(module.keys_of(maps, small, "patch")[0], maps[:, 3, 3] / maps[:, 3, 3].norm())


def test_a_run_with_a_memory_is_marked_and_apart(world, memory, capsys):
    fast = ["--cfg-options", "model.templates=photo", "model.text_cache=None", "test_dataloader.num_workers=0"]
    common = ["sclip", "--dataset", "toy_stuff", "--backbone", "toy"]
    assert tool.main([*common, *fast]) == 0
    assert tool.main([*common, "--memory", "both", "--memory-weight", "0.8", *fast]) == 0
    plain = read(Path("work_dirs/sclip/toy/toy_stuff/result.json"))
    shot = read(Path("work_dirs/sclip/toy/toy_stuff/memory.both/result.json"))
    assert (plain.few_shot, shot.few_shot) == (False, True)
    assert f"|memory:{memory.told}|" in shot.signature
    assert "memory" not in plain.signature
    assert shot.miou > plain.miou + 10  # of the very pictures that are remembered
    from sclip_seg.evaluate.report import command

    assert command.main(["work_dirs", "--out", "report"]) == 0
    tables = [Path("report", name).read_text() for name in ("report.md", "few_shot/report.md")]
    assert [table.count("1 measured cell,") for table in tables] == [1, 1]
    assert ["Memory(" in table for table in tables] == [False, True]
    capsys.readouterr()
    assert tool.main(["naclip", *common[1:], "--memory", "both", *fast]) == 2
    assert "is of features by LastBlock(attention=csa" in capsys.readouterr().err
    assert tool.main([*common, "--memory", "none", *fast]) == 2
    assert "there is no memory none" in capsys.readouterr().err


def test_clicks_have_names_of_their_own(world):
    clicks = [
        {"picture": "000.png", "name": "my mug", "point": [10, 20]},
        {"picture": "000", "name": "it", "box": [0, 0, 40, 30]},
        {"picture": "001.png", "name": "my mug", "box": [3, 3, 5, 5]},
    ]
    Path("clicks.json").write_text(json.dumps(clicks))
    assert remember("clicked.safetensors", "clicks.json", "--per", "region") == 0
    memory = RegionMemory.load("clicked.safetensors")
    assert (memory.names, memory.labels.tolist(), memory.shots) == (("my mug", "it"), [0, 1, 0], 2)
    assert wordless("clicked.safetensors", [["It"], ["sky"]]) == ["my mug"]


@pytest.mark.parametrize(
    ("click", "told"),
    [
        ({"picture": "9.png", "name": "it", "point": [1, 1]}, "there is no picture 9.png"),
        ({"picture": "000.png", "point": [1, 1]}, "a click has a picture and a name"),
        ({"picture": "000.png", "name": "it", "point": [1]}, "a point is"),
        ({"picture": "000.png", "name": "it", "box": [1, 2, "a", 3]}, "a point is"),
        ({"picture": "000.png", "name": "it", "point": [999, 1]}, "lies outside the picture"),
    ],
)
def test_what_is_no_click_is_refused(click, told, world, capsys):
    Path("odd.json").write_text(json.dumps([click]))
    assert remember("odd", "odd.json") == 2
    assert told in capsys.readouterr().err


def test_labels_and_classes_must_fit(world, capsys):
    assert remember("odd", LABELS, "--classes", "sky, grass") == 2
    assert "and there are 2 classes" in capsys.readouterr().err
    for labels, more in ((LABELS, ()), ("clicks.json", ("--classes", "sky"))):
        with pytest.raises(SystemExit):
            remember("odd", labels, *more)
    assert "label maps need --classes" in capsys.readouterr().err
