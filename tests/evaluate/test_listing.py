"""`sclip-seg list`: a line of what each is, and of what it misses on this machine."""

import shutil
from pathlib import Path

import pytest

from sclip_seg.choices import CONFIGS, choices
from sclip_seg.evaluate.listing import main
from sclip_seg.evaluate.missing import missing
from sclip_seg.toy.make import make

FOUND = {(axis, name) for axis, names in choices(CONFIGS).items() for name in names}


def test_every_choice_has_a_line(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FOUND)
    for line in lines:
        axis, name, said = line.split(maxsplit=2)
        assert (axis, name) in FOUND
        assert len(said) > 20
    assert any(line.startswith("method naclip ") and "NACLIP (arXiv 2404.08181)" in line for line in lines)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("machine"))
        make(Path("data/toy"), count=1, seed=0)
        return missing(CONFIGS)


def test_everything_is_looked_for(told):
    assert told.keys() == FOUND
    assert told["method", "sclip"] == told["backbone", "toy"] == "ready"
    assert told["dataset", "toy"].startswith("ready: ")
    assert told["dataset", "voc21"].startswith("data folder data/VOCdevkit/VOC2012 is missing")
    assert "dino" in told["method", "proxyclip"]
    assert {*told["method", "trident"].split()} >= {"samvit_base_patch16.sa1b,", "facebook/sam-vit-base"}
    assert told["method", "corrclip"].endswith("facebook/sam2-hiera-large")
    assert told["method", "zsseg"].startswith("needs the weights of facebook/maskformer")
    assert told["backbone", "openai_vit_b16"] == "needs the weights openai of ViT-B-16"


def test_weights_that_are_here_are_found(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ViT-B-16.openai.pt", "RemoteCLIP-ViT-B-32.pt", "vit_base_patch8_224.dino.pth"):
        (tmp_path / "data" / "weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "weights" / name).touch()
    own = tmp_path / "configs"
    shutil.copytree(CONFIGS / "_base_", own / "_base_")
    for name in ("sclip", "proxyclip"):
        shutil.copy(CONFIGS / f"{name}.py", own)
    for path in (own / "_base_" / "backbones").glob("*.py"):
        if path.stem not in ("openai_vit_b16", "openai_vit_b32", "remoteclip_vit_b32"):
            path.unlink()
    found = missing(own)
    ready = {key for key, said in found.items() if said == "ready"}
    assert ready == {
        *(("method", "sclip"), ("method", "proxyclip")),
        *(("backbone", "openai_vit_b16"), ("backbone", "remoteclip_vit_b32")),
    }


def test_a_config_that_does_not_load_has_a_line(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("model = (")
    assert main([str(tmp_path)]) == 0
    assert "method mine  (no config that can be read)" in capsys.readouterr().out
    assert main([str(tmp_path), "--missing"]) == 0
    assert "does not load" in capsys.readouterr().out
