"""A run that ends before its end, wherever that is: what was measured is kept, and it goes on to the same result."""

import os
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from runs import LABELS, PICTURES, VOC, result_of, run, written
from trees import make_tree

from sclip_seg import files
from sclip_seg.evaluate import sharing
from sclip_seg.evaluate.runner import ForgivingLoop

SAME = ("miou", "aacc", "macc", "images", "partial", "per_class", "signature", "config_digest", "data", "skipped")
OUTPUTS = ("--out", "maps", "--show-dir", "drawn")
KILLED = 9


@pytest.fixture
def data(tmp_path, monkeypatch, tiny):
    """A working folder with a VOC tree of three pictures."""
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data")


def assert_same(folder, other):
    one, two = result_of(folder), result_of(other)
    for key in SAME:
        assert one[key] == two[key], key


def killed_at(event, *arguments, options=()):
    """Whether a run in a process of its own was killed at its event of that number, before it has happened.

    An event is what changes a file for good: one that takes its place, a line of a journal (half of it is written when
    the kill comes), one that is deleted.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    try:
        seen = count()

        def before(function, half=None):
            def wrapped(*given, **named):
                if next(seen) == event:
                    if half:
                        half(*given)
                    os._exit(KILLED)
                return function(*given, **named)

            return wrapped

        os.replace = before(os.replace)
        sharing._append = before(sharing._append, half=lambda file, line: file.write(line[: len(line) // 2]))
        Path.unlink = before(Path.unlink)
        os._exit(run("sclip.py", *arguments, options=options))
    finally:
        os._exit(77)


def test_a_run_killed_anywhere_goes_on_to_the_same_result(data):
    """Through every second event of a run of two pictures, over an older result of other settings."""
    two = ("--limit", "2")
    assert run("sclip.py", "--work-dir", "whole", *two, *OUTPUTS) == 0
    maps, drawn = written("maps"), written("drawn")
    assert (len(maps), len(drawn)) == (2, 2)
    assert run("clip.py", "--work-dir", "older") == 0
    for event in count(step=2):
        for folder in ("mine", "maps", "drawn"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree("older", "mine")
        if not killed_at(event, "--work-dir", "mine", *two, *OUTPUTS):
            break
        result = result_of("mine")
        if Path("mine/config.py").exists():
            replayed = Config.fromfile("mine/config.py").to_dict()
            assert replayed["axes"]["method"] == result["method"], event
        assert run("sclip.py", "--work-dir", "mine", *two, *OUTPUTS, "--resume") == 0
        assert_same("mine", "whole")
        assert written("maps") == maps, event
        assert written("drawn") == drawn, event
        assert Path("mine/config.py").read_text().count("type='LastBlock'") == 1
        assert not Path("mine/progress").exists()
        assert not list(Path("mine").glob(".*"))
    assert event > 12
    assert_same("mine", "whole")


def test_a_killed_run_with_workers_blocks_nobody(data):
    assert run("sclip.py", "--work-dir", "whole") == 0
    assert killed_at(3, "--work-dir", "mine", options=["test_dataloader.num_workers=2"])
    assert run("sclip.py", "--work-dir", "mine", "--resume") == 0
    assert_same("mine", "whole")


def test_what_lies_in_the_way_of_a_folder_is_no_proof(data):
    """Label maps of an older run, of another method, are not taken for those of the pictures in the journal."""
    assert run("sclip.py", "--work-dir", "whole", "--out", "maps") == 0
    assert run("clip.py", "--work-dir", "older", "--out", "others") == 0
    assert written("maps") != written("others")
    assert killed_at(5, "--work-dir", "mine")  # without --out
    assert run("sclip.py", "--work-dir", "mine", "--out", "others", "--resume") == 0
    assert written("maps") == written("others")


def journalled(folder):
    lines = Path(folder, "progress/rank0.jsonl").read_text().splitlines()
    return [record["index"] for record in filter(None, map(sharing.record_of, lines)) if "index" in record]


def spoil(path, content=b"no picture"):
    good = path.read_bytes()
    path.write_bytes(content)
    return lambda: path.write_bytes(good)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_bad_file_costs_that_file(workers, batch, data, capsys):
    """The run says which, keeps the others, and goes on after it was mended; the older result stays meanwhile."""
    options = [f"test_dataloader.num_workers={workers}", f"test_dataloader.batch_size={batch}"]
    assert run("sclip.py", "--work-dir", "whole", options=options) == 0
    assert run("clip.py", "--work-dir", "mine") == 0
    before = written("mine")
    mend = spoil(PICTURES / "2007_000002.jpg")
    capsys.readouterr()
    assert run("sclip.py", "--work-dir", "mine", options=options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "2007_000002.jpg cannot be read" in line
    assert "--resume" in line
    assert "--skip-bad 1" in line
    assert {path: content for path, content in written("mine").items() if path.parts[0] != "progress"} == before
    assert journalled("mine") == [0, 1]
    mend()
    assert run("sclip.py", "--work-dir", "mine", "--resume", options=options) == 0
    assert_same("mine", "whole")


BAD = {
    "picture": lambda: spoil(PICTURES / "2007_000001.jpg"),
    "label map": lambda: spoil(LABELS / "2007_000001.png"),
    "size": lambda: Image.fromarray(np.zeros((5, 5), np.uint8)).save(LABELS / "2007_000001.png"),
    "value": lambda: Image.fromarray(np.full((53, 73), 99, np.uint8)).save(LABELS / "2007_000001.png"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_passed_over(kind, data, capsys):
    """The result is that of the others, partial, and says so; it has a journal to go on from like any other."""
    (VOC / "two.txt").write_text("2007_000000\n2007_000002\n")
    two = ["test_dataloader.dataset.ann_file=two.txt"]
    assert run("sclip.py", "--work-dir", "two", "--out", "two_maps", options=two) == 0
    BAD[kind]()
    batch = ["test_dataloader.batch_size=2"]
    arguments = ["--work-dir", "mine", "--out", "maps", "--show-dir", "drawn"]
    capsys.readouterr()
    assert run("sclip.py", *arguments, "--skip-bad", "1", options=batch) == 0
    told = capsys.readouterr()
    after = told.out.partition("partial: 1 of 3 pictures passed over:\n")[2].splitlines()
    assert "2007_000001" in after[0]
    assert "2007_00000" not in after[1]
    found, others = result_of("mine"), result_of("two")
    for key in ("miou", "per_class", "images"):
        assert found[key] == others[key], key
    assert found["data"] == others["data"]
    assert (found["images_in_dataset"], found["partial"]) == (3, True)
    assert f"data:voc21[2/3]#{found['data']['digest']}|" in found["signature"]
    (bad,) = found["skipped"]
    assert bad["picture"].endswith("2007_000001.jpg")
    assert "2007_000001" in bad["reason"]
    assert written("maps") == written("two_maps")
    assert len(written("drawn")) == 2


def test_more_bad_files_than_allowed(data, capsys):
    mends = [spoil(PICTURES / f"2007_00000{index}.jpg") for index in (0, 2)]
    assert run("sclip.py", "--work-dir", "mine", "--skip-bad", "1") == 2
    assert "2007_000002.jpg cannot be read" in (told := capsys.readouterr().err)
    assert "--skip-bad 2" in told
    assert journalled("mine") == [1]
    mends[0]()
    assert run("sclip.py", "--work-dir", "mine", "--skip-bad", "1", "--resume") == 0
    assert [bad["picture"][-6:] for bad in result_of("mine")["skipped"]] == ["02.jpg"]
    for picture in PICTURES.iterdir():
        spoil(picture)
    assert run("sclip.py", "--work-dir", "other", "--skip-bad", "9") == 2
    assert "none of the 3 pictures could be scored" in capsys.readouterr().err


def test_what_changes_between_a_run_and_its_rest_is_measured_again(data):
    """A label map mended since, and another list of as many pictures."""
    options = ["test_dataloader.batch_size=1"]
    label = np.array(Image.open(LABELS / "2007_000000.png"))
    assert killed_at(4, "--work-dir", "mine", options=options)
    assert journalled("mine") == [0, 1]
    Image.fromarray(np.roll(label, 9, axis=1)).save(LABELS / "2007_000000.png")
    assert run("sclip.py", "--work-dir", "fresh", options=options) == 0
    assert run("sclip.py", "--work-dir", "mine", "--resume", options=options) == 0
    assert_same("mine", "fresh")


def test_what_changes_during_a_run_is_measured_again(data, monkeypatch, capsys):
    """The first label map is exchanged when the second picture is at work; one that is only copied in place is none."""
    label, real = LABELS / "2007_000000.png", ForgivingLoop.run_iter

    def run_iter(self, index, batch):
        if index == 1:
            Image.fromarray(np.roll(np.array(Image.open(label)), 9, axis=1)).save(label)
            (LABELS / "2007_000002.png").write_bytes((LABELS / "2007_000002.png").read_bytes())
        real(self, index, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ForgivingLoop, "run_iter", run_iter)
        assert run("sclip.py", "--work-dir", "mine") == 2
    assert "1 of the pictures or their label maps have changed while" in capsys.readouterr().err
    assert run("sclip.py", "--work-dir", "mine", "--resume") == 0
    assert run("sclip.py", "--work-dir", "fresh") == 0
    assert_same("mine", "fresh")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.logit_scale=41", "other settings"),
        ("test_dataloader.dataset.reduce_zero_label=True", "other settings"),
    ],
)
def test_other_settings_are_refused(option, message, data, capsys):
    assert killed_at(4, "--work-dir", "mine")
    assert run("sclip.py", "--work-dir", "mine", "--resume", options=[option]) == 2
    assert message in capsys.readouterr().err
    assert journalled("mine") == [0, 1]


@pytest.mark.parametrize("name", ["result.json", "2007_000001.png", "config.py"])
def test_a_full_disk_costs_nothing(name, data, capsys, monkeypatch):
    assert run("sclip.py", "--work-dir", "whole", "--out", "whole_maps") == 0
    real = os.replace

    def replace(draft, path):
        if Path(path).name == name and Path(path).parent.name != "progress":
            raise OSError(28, "No space left on device", str(path))
        real(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        capsys.readouterr()
        assert run("sclip.py", "--work-dir", "mine", "--out", "maps") == 2
    assert "No space left on device" in (told := capsys.readouterr().err)
    assert told.count("error: ") == 1
    scored = []
    monkeypatch.setattr(
        ForgivingLoop,
        "run_iter",
        lambda self, idx, batch, real=ForgivingLoop.run_iter: scored.append(idx) or real(self, idx, batch),
    )
    assert run("sclip.py", "--work-dir", "mine", "--out", "maps", "--resume") == 0
    assert len(scored) == (2 if name.endswith(".png") else 0)
    assert_same("mine", "whole")
    assert written("maps") == written("whole_maps")
