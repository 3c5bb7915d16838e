"""`sclip-seg rank-templates`: a file of experts from unlabelled pictures, and a run with them."""

import json
from pathlib import Path

import pytest
from runs import FAST, result_of, run

from sclip_seg.evaluate.rank_templates_command import main
from sclip_seg.toy.make import make
from sclip_seg.words.experts import Experts

THREE = "model.templates=['a photo of a {}.', 'a {}', 'the {} there']"


@pytest.fixture(autouse=True)
def scenes(monkeypatch, tmp_path, tiny):
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=3, seed=0)


def rank(*arguments, options=()):
    pictures = ["--pictures", "data/toy/images", "--out", "experts.json"]  # they lie in its subfolder
    return main(["naclip", "--dataset", "toy_stuff", *pictures, *arguments, "--cfg-options", *FAST, THREE, *options])


def test_a_file_is_written_and_read_by_a_run(capsys):
    assert rank() == 0
    told = capsys.readouterr().out
    found, content = Experts.load("experts.json"), json.loads(Path("experts.json").read_text())
    assert f"written to experts.json (#{found.digest})" in told
    assert len(found.ranked) == 18
    assert all({*row} <= {0, 1, 2} for row in found.ranked)
    assert any(found.ranked)
    assert content["made_with"].endswith("3 pictures")
    unseen = [name for name, row in content["ranked"].items() if not row]
    assert ("no template ever answers" in told) == bool(unseen)
    # Every class needs some: a class that nobody answers takes the first template here.
    content["ranked"] = {name: row or [0] for name, row in content["ranked"].items()}
    Path("experts.json").write_text(json.dumps(content))
    stage = "model.stages=[{'type': 'TemplateExperts', 'experts': 'experts.json', 'top': 2}]"
    arguments = ("--dataset", "toy_stuff", "--limit", "2")
    options = (THREE, "model.refine=[]")
    assert run("naclip.py", *arguments, "--work-dir", "with", options=(*options, stage)) == 0
    assert run("naclip.py", *arguments, "--work-dir", "without", options=options) == 0
    with_experts, without = result_of("with"), result_of("without")
    digest = Experts.load("experts.json").digest
    assert f"stages:TemplateExperts(experts=experts.json#{digest},top=2)" in with_experts["signature"]
    assert "stages" not in without["signature"]
    assert with_experts["miou"] != without["miou"]


def test_fewer_pictures_are_another_ranking():
    assert rank("--limit", "1") == 0
    one = Experts.load("experts.json")
    assert rank() == 0
    assert Experts.load("experts.json").digest != one.digest
    assert one.made_with.endswith("1 pictures")


def test_what_a_user_can_mend(capsys):
    assert main(["naclip", "--pictures", "nowhere", "--out", "x.json"]) == 2
    assert "there are no pictures in nowhere" in capsys.readouterr().err
    stage = "model.stages=[{'type': 'TemplateExperts', 'experts': 'none.json'}]"
    assert run("naclip.py", "--dataset", "toy", options=(stage,)) == 2
    assert "the file of experts none.json is missing" in capsys.readouterr().err
