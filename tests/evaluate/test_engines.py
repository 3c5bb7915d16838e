"""Grids by way of Ray and of submitit: the same cells, and a machine that is lost costs no score."""

import os
import signal
from pathlib import Path

import pytest
from grids import when

from sclip_seg.evaluate.grid import command

TOY = ("--datasets", "toy", "--backbones", "toy")
ENGINES = {
    "ray": ("--engine", "ray", "--jobs", "2"),
    "slurm": ("--engine", "slurm", "--resources", "cluster=local"),
}
NEEDED = {"ray": "ray", "slurm": "submitit"}


@pytest.fixture(scope="module")
def cluster():
    """Two processors of this machine, for all tests here."""
    ray = pytest.importorskip("ray", reason="Ray is missing: pip install .[ray]")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(params=[*ENGINES])
def engine(request):
    """The arguments of an engine that is installed."""
    pytest.importorskip(NEEDED[request.param], reason=f"the extra {request.param} is not installed")
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return ENGINES[request.param]


def parents_of(script):
    """Process and parent of whoever runs the script."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(script) in (place / "cmdline").read_bytes().decode().split("\0"):
                yield int(place.name), int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue


def test_cells_are_measured_once_and_taken_as_they_are(stub, engine, capsys):
    stub.behave(naclip={"fail": "error: no"})
    assert stub("--methods", "clip", "sclip", "naclip", *TOY, *engine) == 1
    measured = [Path(word).stem for call in stub.calls() for word in call if word.endswith(".py")]
    assert sorted(measured) == ["clip", "naclip", "sclip"]
    told = capsys.readouterr().out
    assert "done 2, skipped 0, failed 1" in told
    assert "error: no" in told
    stub.behave()
    assert stub("--methods", "clip", "sclip", "naclip", *TOY, *engine) == 0
    assert "done 1, skipped 2, failed 0" in capsys.readouterr().out


def test_what_is_lost_with_its_worker_goes_on(stub, engine, capsys):
    stub.behave(sclip={"wait": "never"})

    def lose():
        stub.behave()
        for process, parent in list(parents_of(stub.script)):
            os.kill(parent, signal.SIGKILL)
            os.kill(process, signal.SIGKILL)

    with when(Path("work_dirs/reproduce/sclip/toy/toy/progress/rank0.jsonl").exists, lose):
        assert stub("--methods", "sclip", *TOY, *engine) == 0
    told = capsys.readouterr().out
    assert "lost with what ran it (" in told
    assert "done 1, skipped 0, failed 0" in told
    first, second = stub.calls()
    assert "--resume" not in first
    assert "--resume" in second


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--address", "auto"), "--address goes with --engine ray"),
        (("--resources", "a=1"), "--resources goes with"),
        (("--engine", "slurm", "--resources", "partition"), "--resources takes KEY=VALUE"),
    ],
)
def test_mistakes_are_told(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--methods", "sclip", *TOY, *arguments]) == 2
    assert words in capsys.readouterr().err
