"""A student from labels to a score, at its smallest: one training of three iterations serves all."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from sclip_seg.students import score_command, toy, toy_command, train_command
from sclip_seg.students.config import STUDENTS, load_student
from sclip_seg.toy.make import make
from sclip_seg.words.vocabulary import Vocabulary

TINY = {
    "segformer_b0": (
        *("model.backbone.embed_dims=8", "model.backbone.num_layers=[1,1,1,1]", "model.backbone.num_heads=[1,1,1,1]"),
        *("model.decode_head.in_channels=[8,8,8,8]", "model.decode_head.channels=8"),
    ),
    "deeplabv3plus_r50": (
        *("model.backbone.base_channels=8", "model.decode_head.in_channels=256", "model.decode_head.channels=8"),
        *("model.decode_head.c1_in_channels=32", "model.decode_head.c1_channels=8"),
        *("model.auxiliary_head.in_channels=128", "model.auxiliary_head.channels=8"),
    ),
}
QUICK = (
    *("model.backbone.init_cfg=None", "train_dataloader.batch_size=2", "train_dataloader.num_workers=0"),
    *("train_dataloader.persistent_workers=False", "log_level=ERROR", "randomness.seed=0"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A working folder with toy pictures, labels as `sclip-seg label` writes them, and a trained student."""
    folder = tmp_path_factory.mktemp("students")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(Path("data/toy"), count=3, seed=0)
        names = list(Vocabulary.load("toy").names)
        told = {"signature": "method:x", "classes": ["background", *names[1:]], "ignore": 255}
        Path("labels/labels/a").mkdir(parents=True)
        Path("photos/a").mkdir(parents=True)
        for index in range(2):
            labels = np.array(Image.open(f"data/toy/labels/val/{index:03d}.png"))
            labels[:9] = 255
            Image.fromarray(labels).save(f"labels/labels/a/{index}.png")
            Image.open(f"data/toy/images/val/{index:03d}.png").save(f"photos/a/{index}.png")
        Image.new("RGB", (40, 40)).save("photos/unlabelled.png")
        Path("labels/dataset.json").write_text(json.dumps(told | {"written": {"format": "png"}}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert train() == 0
    return folder


@pytest.fixture(autouse=True)
def within(world, monkeypatch):
    monkeypatch.chdir(world)


def train(*arguments, out="student", iters=3, data="labels", config="segformer_b0"):
    given = [config, "--data", data, "--pictures", "photos", "--work-dir", out, "--iters", str(iters), "--crop", "32"]
    return train_command.main([*given, *arguments, "--cfg-options", *QUICK, *TINY.get(config, ())])


def test_a_checkpoint_is_plain_data_and_names_its_teacher():
    held = torch.load("student/iter_3.pth", weights_only=True)
    assert held["meta"]["iter"] == 3
    assert not {"cfg", "config"} & held["meta"].keys()
    kept = Config.fromfile("student/student.py")
    assert (kept.teacher, kept.student, kept.ignore) == ("method:x", "segformer_b0", 255)
    assert kept.model.decode_head.num_classes == len(kept.classes) == len(Vocabulary.load("toy"))
    assert Path("student/pictures.txt").read_text() == "a/0\na/1\n"


@pytest.mark.filterwarnings("ignore")
def test_a_student_is_gone_on_with_and_scored(capsys):
    assert train(iters=4) == 2
    assert "--resume goes on" in capsys.readouterr().err
    assert train("--resume", iters=4) == 0
    assert Path("student/last_checkpoint").read_text().endswith("iter_4.pth")
    assert score_command.main(["student", "--dataset", "toy", "--cfg-options", "test_dataloader.num_workers=0"]) == 0
    told = capsys.readouterr().out
    result = json.loads(Path("student/toy.json").read_text())
    assert f"mIoU {result['miou']:.2f}  aAcc {result['aacc']:.2f}  (3 pictures)" in told
    assert "taught by method:x" in told
    assert "|iters:4|size:32|data:toy[3]#" in result["signature"]
    assert set(result["per_class"]) == set(Config.fromfile("student/student.py").classes)


def test_mistakes_are_told(capsys):
    assert train(config="segformer_b1", out="o") == 2
    assert train(data="photos", out="o") == 2
    assert train_command.main(["segformer_b0", "--data", "labels", "--work-dir", "o"]) == 2
    assert score_command.main(["photos", "--dataset", "toy"]) == 2
    assert score_command.main(["student", "--dataset", "toy_stuff"]) == 2
    told = capsys.readouterr().err.splitlines()
    words = ("did you mean segformer_b0", "no dataset.json", "--pictures DIR", "holds no student", "classes")
    assert len(told) == len(words)
    for line, word in zip(told, words, strict=True):
        assert word in line
    assert not Path("o").exists()


def test_both_ignore_what_is_ignored():
    for name in TINY:
        config = load_student(STUDENTS / f"{name}.py", {"SCLIP_LABELS": Path("labels").resolve()}, {})
        for head in filter(None, (config.model.decode_head, config.model.get("auxiliary_head"))):
            assert (head.ignore_index, head.loss_decode.avg_non_ignore) == (255, True)
        assert config.model.data_preprocessor.seg_pad_val == 255


@pytest.mark.filterwarnings("ignore")
def test_the_other_student_trains_and_goes_on(capsys):
    deep = dict(config="deeplabv3plus_r50", out="deep")
    assert train("--resume", iters=1, **deep) == 0
    assert "deep holds no checkpoint yet" in capsys.readouterr().out
    first = torch.load("deep/iter_1.pth", weights_only=True)["state_dict"]
    assert train("--resume", iters=2, **deep) == 0
    held = torch.load("deep/iter_2.pth", weights_only=True)
    assert held["meta"]["iter"] == 2
    assert first.keys() == held["state_dict"].keys()
    moved = [name for name, weights in held["state_dict"].items() if not torch.equal(weights, first[name])]
    assert {name.split(".")[0] for name in moved} == {"backbone", "decode_head", "auxiliary_head"}
    assert all(weights.isfinite().all() for weights in held["state_dict"].values())
    assert held["state_dict"]["decode_head.conv_seg.weight"].shape[0] == len(Vocabulary.load("toy"))


def test_the_toy_s_whole_way_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    """`make student` in small: drawn, labelled, trained, and both scored on scenes that it has drawn too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toy, "COUNT", 2)
    assert toy_command.main(["--scenes", "3", "--iters", "2", "--method", "sclip", "--work-dir", "work"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| teacher", "| student"))]
    assert [int(line.split("|")[-2]) for line in rows] == [2, 2]
    assert len([*Path("work/pictures").glob("*.png")]) == 3
