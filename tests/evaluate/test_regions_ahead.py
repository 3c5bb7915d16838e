"""`sclip-seg regions`: ahead of a run, killed and gone on, drawn; and a run that finds them kept."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import result_of, run

from sclip_seg.evaluate import regions_command
from sclip_seg.regions.classical import Felzenszwalb
from sclip_seg.toy.make import make

KILLED = 9
FIT = ("--provider", "felzenszwalb", "--cfg-options", "sigma=0.5", "min_size=50")  # as the toy world's config has it


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with four toy scenes."""
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=4, seed=0)
    return tmp_path


def kept(folder: str = "work_dirs/regions") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.png")}


def test_every_picture_once(world, capsys):
    assert regions_command.main(["toy", *FIT]) == 0
    first = kept()
    assert len(first) == 4
    assert re.search(r"4 pictures, \d+\.\d regions each; 0 were kept before", capsys.readouterr().out)
    assert regions_command.main(["toy", *FIT]) == 0
    assert "4 were kept before" in capsys.readouterr().out
    assert kept() == first
    assert regions_command.main(["toy", "--provider", "slic", "--limit", "2"]) == 0
    assert len(kept()) == 6


def killed_at(number: int, *arguments: str) -> bool:
    """Whether the command, in a process of its own, was killed while it looked for the regions of that picture."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -KILLED
    try:
        find, seen = Felzenszwalb.find, []

        def counted(self, picture, name=""):
            seen.append(name)
            if len(seen) == number:
                os.kill(os.getpid(), KILLED)
            return find(self, picture, name)

        Felzenszwalb.find = counted
        os._exit(regions_command.main([*arguments]))
    finally:
        os._exit(77)


def test_killed_and_gone_on(world, monkeypatch, capsys):
    assert regions_command.main(["toy", *FIT, "--cfg-options", "sigma=0.5", "min_size=50", "--folder", "whole"]) == 0
    assert killed_at(3, "toy", *FIT)
    assert len(kept()) == 2
    (draft := next(Path("work_dirs/regions").rglob("*.png")).with_name(".x.png.1.tmp")).write_bytes(b"half")
    find, asked = Felzenszwalb.find, []
    monkeypatch.setattr(Felzenszwalb, "find", lambda self, *given: asked.append(given[1]) or find(self, *given))
    capsys.readouterr()
    assert regions_command.main(["toy", *FIT]) == 0
    assert "2 were kept before" in capsys.readouterr().out
    assert len(asked) == 2
    assert not draft.exists()
    assert kept() == kept("whole")


def test_drawn_over_their_pictures(world):
    assert regions_command.main(["toy", *FIT, "--show-dir", "drawn"]) == 0
    for path in sorted(Path("data/toy/images/val").glob("*.png")):
        drawn, picture = (np.asarray(Image.open(place)) for place in (Path("drawn", path.name), path))
        assert drawn.shape == picture.shape
        assert (drawn != picture).any()


def test_a_run_takes_what_was_kept_and_scores_the_same(world, monkeypatch):
    arguments = "--dataset", "toy", "--backbone", "toy"
    options = ("model.text_cache=None", "model.templates=photo", "test_dataloader.num_workers=0")
    nowhere = ("model.backbone.tail.regions.folder=None",)
    assert run("corrclip.py", *arguments, "--work-dir", "found", fast=options, options=nowhere) == 0
    assert regions_command.main(["toy", *FIT]) == 0
    monkeypatch.setattr(Felzenszwalb, "find", None)
    assert run("corrclip.py", *arguments, "--work-dir", "kept", fast=options) == 0
    found, taken = result_of("found"), result_of("kept")
    assert found["per_class"] == taken["per_class"]
    assert found["signature"] == taken["signature"]
    fields = dict(part.split(":", 1) for part in taken["signature"].split("|"))
    told = r"Felzenszwalb\(min_size=50,scale=100.0,sigma=0.5\)#skimage-[\d.]+\[trained on nothing\]"
    assert re.fullmatch(told, fields["regions"])
    assert "memory" not in fields


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "--provider", "felsenzwalb"], "no provider 'felsenzwalb' of regions; did you mean felzenszwalb?"),
        (["toy", "--provider", "slic", "--cfg-options", "scale=3"], "slic has no option 'scale'"),
        (["toy", "--provider", "slic", "--cfg-options", "segments=many"], "slic.segments is 'many'"),
        (["toys", *FIT], "no dataset 'toys'"),
        (["voc21", *FIT], "data/VOCdevkit"),
        (["toy", *FIT, "--folder", "data/toy/images/val"], "lies in the dataset's picture folder"),
        (["toy", "--provider", "files", "--cfg-options", "maps=data/toy/labels/val"], "are files already"),
        (["toy", "--provider", "sam2", "--cfg-options", "checkpoint=data"], "not on this machine"),
    ],
)
def test_mistakes_are_a_line(arguments, message, world, capsys):
    assert regions_command.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("error: ") == 1
