"""Runs that go through the pictures together: each is what it is alone, to the last bit, whatever becomes of others."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs import CONFIGS, FAST, result_of, run, written

from sclip_seg.evaluate import test as tool
from sclip_seg.evaluate.group import Group, in_groups
from sclip_seg.evaluate.run import Run
from sclip_seg.evaluate.runner import ForgivingLoop
from sclip_seg.picture.refine.pamr import PAMR
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.together import Together
from sclip_seg.toy.demo import METHODS
from sclip_seg.toy.make import make

TIMES = ("seconds_per_image", "shared_by")
TOY = ("test_dataloader.num_workers=0", "model.text_cache=None")


def line(method, *options, backbone=None):
    """A command line of `sclip-seg test` for a cell of the tiny tower, or of another backbone."""
    place = ["--dataset", "toy", "--work-dir", f"together/{method}", "--out", f"together/{method}/labels"]
    place += ["--backbone", backbone] if backbone else []
    return [str(CONFIGS / f"{method}.py"), *place, "--cfg-options", *(TOY if backbone else FAST), *options]


def together_and_alone(*lines):
    """Runs the command lines in one process, and one by one; for each the results and label maps of both."""
    Path("cells.json").write_text(json.dumps(lines))
    assert tool.main(["--cells", "cells.json"]) == 0
    for arguments in lines:
        apart = [text.replace("together/", "alone/") for text in arguments]
        assert tool.main(apart) == 0
        folder = Path(arguments[arguments.index("--work-dir") + 1])
        yield folder, Path("alone", folder.name)


def plain(folder):
    """A result without what may differ: the times, how many shared the run, and where it was written."""
    result = {key: value for key, value in result_of(folder).items() if key not in TIMES}
    config = {key: value for key, value in result["config"].items() if key not in ("work_dir", "custom_hooks")}
    return result | {"config": config}


@pytest.fixture
def scenes(monkeypatch, tmp_path, tiny):
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=3, seed=0)


def test_every_method_alone_and_together(scenes):
    lines = [[*line(method, backbone="toy"), "--limit", "1"] for method in METHODS]
    for shared, alone in together_and_alone(*lines):
        assert plain(shared) == plain(alone)
        assert written(shared / "labels") == written(alone / "labels")
        assert len(written(shared / "labels")) == 1


@pytest.mark.parametrize("batch", [1, 2])
def test_what_differs_only_after_the_trunk(scenes, batch):
    """Scales, thresholds, areas, words and refinements; and the batches of pictures."""
    variants = {
        "plain": (),
        "scale": ("model.logit_scale=3",),
        "threshold": ("model.background_threshold=0.3",),
        "area": ("model.min_area=0.2",),
        "pamr": ("model.refine=['PAMR']",),
        "pamr_threshold": ("model.refine=['PAMR']", "model.background_threshold=0.3"),
        "presence": ("model.refine=['Presence']", "model.logit_scale=3"),
    }
    lines = [
        [arg.replace("together/sclip", f"together/{name}") for arg in line("sclip", *options)]
        + [f"test_dataloader.batch_size={batch}"]
        for name, options in variants.items()
    ]
    scores = set()
    for shared, alone in together_and_alone(*lines):
        assert plain(shared) == plain(alone)
        assert written(shared / "labels") == written(alone / "labels")
        scores.add(result_of(shared)["miou"])
    assert len(scores) > 3, "the variants are not told apart by these scenes"


def test_the_trunk_runs_once(scenes, monkeypatch):
    ran, trunk = [], DenseCLIP._run
    monkeypatch.setattr(DenseCLIP, "_run", lambda self, *a, **k: ran.append(a) or trunk(self, *a, **k))
    (group,) = in_groups([Run(tool.parse(line(method))) for method in ("clip", "sclip", "naclip")])
    assert all(member.result for member in Group(group).measure())
    together = len(ran)
    assert run("sclip.py", "--dataset", "toy", "--work-dir", "single") == 0
    assert together == len(ran) - together > 0


def test_what_is_refined_alike_is_refined_once(scenes, monkeypatch):
    """Two thresholds of one method: features, scores and PAMR are made once for both."""
    counts = {"score": 0, "step": 0}

    def counted(name, method):
        def call(*arguments):
            counts[name] += 1
            return method(*arguments)

        return call

    monkeypatch.setattr(OpenVocabSegmentor, "_scored", counted("score", OpenVocabSegmentor._scored))
    monkeypatch.setattr(PAMR, "revise", counted("step", PAMR.revise))
    lines = [line("sclip", "model.refine=['PAMR']", f"model.background_threshold={share}") for share in (0.1, 0.3)]
    lines[1] = [text.replace("together/sclip", "together/other") for text in lines[1]]
    (group,) = in_groups([Run(tool.parse(arguments)) for arguments in lines])
    assert all(member.result for member in Group(group).measure())
    assert counts == {"score": 3, "step": 3}


def test_beyond_its_share_of_memory_nothing_is_kept_and_nothing_moves(scenes, monkeypatch):
    monkeypatch.setattr(Together.__init__, "__defaults__", (0,))
    for shared, alone in together_and_alone(line("sclip"), line("naclip")):
        assert plain(shared) == plain(alone)


def test_one_that_fails_takes_nobody_with_it(scenes, capsys):
    lines = [line("clip"), line("sclip", "model.background=99"), line("naclip")]
    Path("cells.json").write_text(json.dumps(lines))
    assert tool.main(["--cells", "cells.json"]) == 2
    assert result_of("together/clip")["shared_by"] == result_of("together/naclip")["shared_by"] == 3
    assert "error: " in Path("together/sclip/log.txt").read_text()
    assert not Path("together/sclip/result.json").exists()
    assert np.isfinite(result_of("together/naclip")["miou"])
    assert "mIoU" in capsys.readouterr().out


def test_a_fault_in_one_picture_ends_that_method_only(scenes, monkeypatch, capsys):
    score, seen = OpenVocabSegmentor.score, []

    def faulty(self, picture):
        if self.logit_scale == 7:
            seen.append(picture)
            if len(seen) == 2:
                raise ZeroDivisionError("a fault of ours")
        return score(self, picture)

    monkeypatch.setattr(OpenVocabSegmentor, "score", faulty)
    Path("cells.json").write_text(json.dumps([line("clip"), line("naclip", "model.logit_scale=7")]))
    assert tool.main(["--cells", "cells.json"]) == 1
    assert "ZeroDivisionError: a fault of ours" in Path("together/naclip/log.txt").read_text()
    assert result_of("together/clip")["images"] == 3


def test_goes_on_where_each_was_stopped(scenes, monkeypatch):
    """One has its journal, one has a part of it, one has none: each ends as if nothing had happened."""
    lines = [line("clip"), line("sclip"), line("naclip")]
    list(together_and_alone(*lines))
    step, counted = ForgivingLoop.run_iter, []

    def stops(self, index, batch):
        counted.append(index)
        if len(counted) == 5:  # the second picture of the second method
            raise KeyboardInterrupt
        return step(self, index, batch)

    again = [[text.replace("together/", "again/") for text in arguments] for arguments in lines]
    Path("cells.json").write_text(json.dumps(again))
    monkeypatch.setattr(ForgivingLoop, "run_iter", stops)
    assert tool.main(["--cells", "cells.json"]) == 130
    monkeypatch.setattr(ForgivingLoop, "run_iter", step)
    going_on = [[*arguments[:1], "--resume", *arguments[1:]] for arguments in again]
    Path("cells.json").write_text(json.dumps(going_on))
    assert tool.main(["--cells", "cells.json"]) == 0
    for method in ("clip", "sclip", "naclip"):
        assert plain(Path("again", method)) == plain(Path("alone", method))


def test_several_methods_by_name(scenes, capsys):
    places = ["--work-dir", "all", "--out", "maps", "--dataset", "toy"]
    configs = [str(CONFIGS / f"{name}.py") for name in ("clip", "sclip")]
    assert tool.main([*configs, *places, "--cfg-options", *FAST]) == 0
    printed = capsys.readouterr().out
    assert printed.count("mIoU ") == 2
    assert {path.parent.name for path in Path("maps").rglob("*.png")} == {"clip", "sclip"}
    assert result_of("all/clip")["shared_by"] == 2
    assert tool.main([configs[0], configs[0], *places]) == 2
    assert "clip is named twice" in capsys.readouterr().err
