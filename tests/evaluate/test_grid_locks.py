"""Cells that another process works on: waited for, taken as they are, and never measured twice."""

import fcntl
import io
import sys
import threading
from pathlib import Path

from grids import stop_when, tool, when
from waiting import until

from sclip_seg.evaluate.grid.reproduce import plan
from sclip_seg.evaluate.grid.run import GridRun
from sclip_seg.evaluate.grid.screen import Screen

TOY = ("--datasets", "toy", "--backbones", "toy")
GRID = Path("work_dirs/reproduce")


def watched_screens(monkeypatch):
    """What grids say from now on, as they say it; it is printed as well."""
    said, say = io.StringIO(), Screen.say

    def keep(screen, line):
        said.write(f"{line}\n")
        say(screen, line)

    monkeypatch.setattr(Screen, "say", keep)
    return said


def test_a_cell_that_another_process_works_on_is_left_alone(stub, capsys):
    folder = GRID / "sclip/toy/toy"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clip = GRID / "clip/toy/toy/result.json"
        with when(clip.exists, lambda: fcntl.flock(lock, fcntl.LOCK_UN)):
            assert stub("--methods", "sclip", "clip", *TOY) == 0
    printed = capsys.readouterr().out
    assert printed.count(f"waits: sclip/toy/toy: another process is at work in {folder}") == 1
    assert [Path(call[1]).stem for call in stub.calls()] == ["clip", "sclip"], "what is free comes first"
    assert "done 2, skipped 0, failed 0" in printed


def test_two_grids_share_a_folder(stub, capsys, monkeypatch):
    """What the other one finishes meanwhile is taken as it is; a stop ends the waiting."""
    (request,) = plan(tool.parse(["--methods", "sclip", *TOY]), None)
    stub.behave(sclip={"wait": "told"})
    other = GridRun([sys.executable, "-S", str(stub.script)], [{}], Screen(io.StringIO()))
    worker = threading.Thread(target=other.run, args=([[request]],))
    worker.start()
    until((request.folder / "progress").is_dir, "the first picture", worker.is_alive)
    screens = watched_screens(monkeypatch)
    with when(lambda: "waits" in screens.getvalue(), Path("told").touch):
        assert stub("--methods", "sclip", *TOY) == 0
    worker.join()
    assert "done 0, skipped 1, failed 0" in capsys.readouterr().out
    assert len(stub.calls()) == 1

    with (request.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        screens = watched_screens(monkeypatch)
        with stop_when(lambda: "waits" in screens.getvalue()):
            assert stub("--methods", "sclip", *TOY, "--anew") == 130


def test_a_cell_stays_taken_when_its_grid_is_killed(stub):
    stub.behave(sclip={"wait": "never"})
    (request,) = plan(tool.parse(["--methods", "sclip", *TOY]), None)
    grid = GridRun([sys.executable, "-S", str(stub.script)], [{}], Screen(io.StringIO()))
    assert grid._begin([request], 0)
    until((request.folder / "progress").is_dir, "the first picture")
    grid.running[0].cells[0].lock.release()  # what the system does for a process that is killed
    said = io.StringIO()
    stopped = iter([False] * 10)
    again = GridRun([sys.executable, "-S", str(stub.script)], [{}], Screen(said), lambda: next(stopped, True))
    assert again.run([[request]]) == []
    assert "another process is at work" in said.getvalue()
    grid._end()
    stub.behave()
    assert stub("--methods", "sclip", *TOY) == 0


def test_a_group_that_the_machine_ends_goes_on_in_halves(stub, capsys):
    """As where memory has run out: in the end each cell has a process of its own."""
    assert stub("--methods", "clip", "sclip", "naclip", *TOY, group=32) == 0
    calls = [call[2:] if call[1] == "--cells" else [Path(call[1]).stem] for call in stub.calls()]
    assert calls == [["clip", "sclip", "naclip"], ["clip", "sclip"], ["clip"], ["sclip"], ["naclip"]]
    printed = capsys.readouterr().out
    assert printed.count("ended by signal 9") == 2
    assert "done 3, skipped 0, failed 0" in printed


def test_a_group_holds_what_can_go_together(stub):
    """Of other data or other weights nothing is shared, and a slot that has nothing to do takes its part."""
    stub("--methods", "clip", "sclip", "--datasets", "toy", "toy_stuff", "--backbones", "toy", group=32)
    groups = [call[2:] for call in stub.calls() if call[1] == "--cells"]
    assert groups == [["clip", "sclip"]] * 2
