"""`sclip-seg label --engine ray`: what a cluster writes is what one process writes, also when a worker is killed."""

import io
import json
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import until

from sclip_seg.label import command, on_ray
from sclip_seg.toy.world import draw

PICTURES = 24


@pytest.fixture(scope="module")
def cluster():
    """Two processors of this machine."""
    ray = pytest.importorskip("ray", reason="Ray is missing: pip install .[ray]")
    pytest.importorskip("ray.data", reason="Ray Data is missing: pip install .[ray]")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Pictures of a folder and of a shard."""
    monkeypatch.chdir(tmp_path)
    Path("in/a").mkdir(parents=True)
    for index in range(PICTURES):
        Image.fromarray(draw(1, index, 40, 48, count=(3, 4)).image).save(f"in/a/{index:02d}.png")
    with tarfile.open("in/s.tar", "w") as shard:
        for index in range(PICTURES, PICTURES + 4):
            Image.fromarray(draw(1, index, 40, 48, count=(3, 4)).image).save("x.png")
            shard.add("x.png", f"{index:02d}.png")


def label(*arguments, out, form):
    words = ("--backbone", "toy", "--device", "cpu", "--classes", "tomato, leaf, lemon")
    return command.main(["in", *words, "--format", form, "--out", out, *arguments])


def content(folder):
    files = {p.relative_to(folder).as_posix(): p for p in Path(folder).rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in files.items() if not name.startswith("progress")}


def assert_same(folder, other):
    """The same files and labels to the byte, and the same scores but for their last place.

    Of two pictures that go through the tower together, one may be left when a worker is killed. Alone, its scores are
    1.5e-6 off at most, as measured, by the order in which a processor adds: what is written of them is rounded.
    """
    one, two = content(folder), content(other)
    assert one.keys() == two.keys()
    for name in one:
        if name.endswith(".npz"):
            ours, theirs = (np.load(io.BytesIO(found[name])) for found in (one, two))
            for key in ("labels", "classes"):
                np.testing.assert_array_equal(ours[key], theirs[key])
            np.testing.assert_allclose(ours["scores"], theirs["scores"], rtol=2**-10, atol=2e-6)
        elif name == "tasks.json":
            ours, theirs = (without_scores(json.loads(found[name])) for found in (one, two))
            assert ours[0] == theirs[0]
            np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1.1e-4)
        else:
            assert one[name] == two[name]


def without_scores(tasks):
    """The tasks, and the scores of their regions."""
    scores = [entry.pop("score") for task in tasks for entry in task["predictions"][0]["result"]]
    return tasks, scores


@pytest.mark.parametrize("form", ["npz", "labelstudio"])
def test_a_killed_worker_costs_nothing(photos, cluster, monkeypatch, form):
    scores = ["--scores"] * (form == "npz")
    assert label(*scores, out="whole", form=form) == 0
    monkeypatch.setattr(on_ray, "PORTION", 2)
    if not os.fork():  # kills the first worker that has labelled something
        journals = Path("out/progress")
        until(lambda: any(path.read_text().count('"name"') for path in journals.glob("rank-*.jsonl")))
        first = next(path for path in journals.glob("rank-*.jsonl") if path.read_text().count('"name"'))
        os.kill(int(first.stem.rpartition("-")[2]), signal.SIGKILL)
        os._exit(0)
    assert label("--engine", "ray", "--jobs", "2", *scores, out="out", form=form) == 0
    assert_same("out", "whole")
    lines = [path.read_text().splitlines() for path in Path("out/progress").glob("rank-*.jsonl")]
    assert len(lines) == 3, "the killed one's journal is there, and that of whoever took its place"
    names = [json.loads(line.partition(" ")[2])["name"] for journal in lines for line in journal[1:]]
    assert len(names) == len({*names}) == PICTURES + 4


def test_what_is_done_is_not_done_again_and_mistakes_are_told(photos, cluster, capsys):
    assert label("--engine", "ray", out="out", form="png") == 0
    before = content("out")
    assert label("--engine", "ray", out="out", form="png") == 0
    assert content("out") == before
    assert label("--engine", "ray", "--unsure", "0.5", out="out", form="png") == 2
    assert label("--jobs", "2", out="other", form="png") == 2
    told = capsys.readouterr().err
    assert "other settings" in told
    assert "--address and --jobs go with --engine ray" in told
