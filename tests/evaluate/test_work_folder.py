"""The work folder of a run: for one run at a time, apart from the data, with the config that its result was made by."""

from pathlib import Path

import pytest
from filelock import FileLock
from mmengine.config import Config
from runs import LABELS, PICTURES, VOC, result_of, run, tool, written
from trees import make_tree


@pytest.fixture
def data(tmp_path, monkeypatch, tiny):
    """A working folder with a VOC tree of three pictures."""
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data")


def test_a_second_run_is_told_at_once(data, capsys):
    Path("mine").mkdir()
    with FileLock("mine/run.lock"):
        before = written("mine")
        assert run("sclip.py", "--work-dir", "mine") == 2
        assert written("mine") == before
    assert "error: another run is at work in mine: wait until" in capsys.readouterr().err
    assert run("sclip.py", "--work-dir", "mine") == 0


def test_a_folder_that_cannot_be_is_one_line(data, capsys):
    Path("file").write_text("")
    assert run("sclip.py", "--work-dir", "file/mine") == 2
    assert capsys.readouterr().err.count("error: ") == 1
    assert run("sclip.py", "--work-dir", "mine", "--out", "file/maps") == 2
    assert capsys.readouterr().err.count("error: ") == 1


def test_notes_in_a_folder_of_that_name_stay(data):
    Path("mine/progress").mkdir(parents=True)
    Path("mine/progress/notes.txt").write_text("kept")
    assert run("sclip.py", "--work-dir", "mine") == 0
    assert written("mine/progress") == {Path("notes.txt"): b"kept"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", str(LABELS)], "--out data/VOCdevkit/VOC2012/SegmentationClass lies in the dataset's label folder"),
        (["--show-dir", f"{PICTURES}/drawn"], "JPEGImages/drawn lies in the dataset's picture folder"),
        (["--out", "link/below"], "--out link/below lies in the dataset's label folder"),
        (["--work-dir", str(PICTURES)], "--work-dir data/VOCdevkit/VOC2012/JPEGImages lies in"),
        (["--out", str(VOC)], "--out data/VOCdevkit/VOC2012 is the dataset's own folder"),
        (["--out", "one", "--show-dir", "./one"], "--out and --show-dir are both one"),
        (["--work-dir", "mine", "--out", "mine/progress"], "--out mine/progress is where the run keeps its journal"),
    ],
)
def test_outputs_never_land_on_inputs(arguments, message, data, capsys):
    Path("link").symlink_to(LABELS.absolute())
    before = written(".")
    assert run("sclip.py", *arguments) == 2
    assert message in capsys.readouterr().err
    assert written(".") == before


def test_the_written_config_is_the_runs_own(data):
    assert run("sclip.py", "--work-dir", "mine") == 0
    first = result_of("mine")
    assert tool.main(["mine/config.py", "--work-dir", "mine"]) == 0
    assert result_of("mine")["config_digest"] == first["config_digest"]
    assert Config.fromfile("mine/config.py").model.backbone.arch == "tiny"
