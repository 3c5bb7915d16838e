"""The regression gate: the toy world's stored scores against what is measured now, and its own faults."""

import fcntl
import json
from pathlib import Path

import forked
import pytest
import yaml
from grids import ROOT, stop_when, tool

from sclip_seg.config import choices
from sclip_seg.errors import InputError
from sclip_seg.evaluate.grid import gate
from sclip_seg.evaluate.grid.engine import Local
from sclip_seg.toy.make import make

TOY = ("--datasets", "toy", "--backbones", "toy")
EXPECTED = ROOT / "tests" / "expectations" / "toy.json"
QUICK = ("--methods", "clip", "sclip", *TOY)
SCLIP = Path("work_dirs/reproduce/sclip/toy/toy")


def test_quick_grid_killed_gone_on_with_and_checked(tmp_path, monkeypatch, capfd):
    """The real thing: two methods, which share a process, stopped, gone on with, and held against the stored scores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Local, "start", forked.start)
    make(Path("data/toy"), count=12, seed=0)
    journal = SCLIP / "progress" / "rank0.jsonl"
    with stop_when(lambda: journal.is_file() and journal.read_bytes().count(b'"index"') >= 2):
        assert tool.main([*QUICK, "--check", str(EXPECTED)]) == 130
    printed = capfd.readouterr().out
    assert "begins: clip/toy/toy" in printed
    assert "as expected" not in printed
    with (SCLIP / "lock").open() as lock:  # free, so that the child is gone
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    counted = journal.read_bytes().count(b'"index"')
    assert 2 <= counted < 12

    assert tool.main([*QUICK, "--check", str(EXPECTED)]) == 0
    printed = capfd.readouterr().out
    assert all(f"goes on: {method}/toy/toy" in printed for method in ("clip", "sclip"))
    assert "done 2, skipped 0, failed 0" in printed
    assert "as expected: 2 cells" in printed

    before = {path: path.stat().st_mtime_ns for path in Path("work_dirs/reproduce").rglob("*")}
    assert tool.main([*QUICK, "--check", str(EXPECTED)]) == 0
    assert "done 0, skipped 2, failed 0" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path("work_dirs/reproduce").rglob("*")} == before

    content = json.loads(EXPECTED.read_text())
    content["cells"]["sclip/toy/toy"]["miou"] += content["cells"]["sclip/toy/toy"]["tolerance"] + 0.2
    Path("planted.json").write_text(json.dumps(content))
    assert tool.main([*QUICK, "--check", "planted.json"]) == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("drifted")]
    assert len(lines) == 1
    assert lines[0].startswith("drifted: sclip/toy/toy: measured")


def test_stored_expectations_are_of_the_toy_grid():
    stored = gate.load(EXPECTED)
    assert (stored.limit, stored.options) == (12, ())
    assert {(cell.backbone, cell.dataset, cell.variant) for cell in stored.cells} == {("toy", "toy", None)}
    methods = {cell.method for cell in stored.cells}
    assert methods == {*choices(ROOT / "configs")["method"]}
    miou = {key: values[0] for key, values in stored.expected.items()}
    assert miou["sclip/toy/toy"] > 1.5 * miou["clip/toy/toy"]
    assert all(0 < tolerance <= 0.5 for _, tolerance in stored.expected.values())


@pytest.mark.parametrize("name", ["kept.json", "kept.yaml"])
def test_what_is_stored_is_what_is_checked(name, stub, capsys):
    stub.behave(sclip={"miou": 40.0})
    assert stub("--methods", "clip", "sclip", *TOY, "--store", name, "--tolerance", "0.5") == 0
    content = (json.loads if name.endswith("json") else yaml.safe_load)(Path(name).read_text())
    assert content["cells"]["sclip/toy/toy"] == {"miou": 40.0, "tolerance": 0.5, "cfg_options": []}
    assert content["made_with"].startswith("sclip-seg reproduce --methods clip sclip")
    assert stub("--check", name) == 0
    assert len(stub.calls()) == 2
    for miou, status in ((40.5, 0), (39.49, 1), (40.51, 1), (float("nan"), 1)):
        stub.behave(sclip={"miou": miou})
        assert stub("--check", name, "--anew") == status, miou
    assert "drifted: sclip/toy/toy: measured nan, expected 40.00" in capsys.readouterr().out


def test_variants_are_checked_with_their_options(stub):
    assert stub("--table", "sclip-ablation", *TOY, "--store", "kept.json") == 0
    calls = len(stub.calls())
    assert stub("--check", "kept.json") == 0
    assert len(stub.calls()) == calls, "the file alone names the same configs"


def test_a_cell_without_expectation_fails(stub, capsys):
    assert stub("--methods", "clip", *TOY, "--store", "kept.json") == 0
    assert stub("--methods", "clip", "sclip", *TOY, "--check", "kept.json") == 1
    assert "drifted: sclip/toy/toy: no expectation is stored" in capsys.readouterr().out


def test_a_failed_cell_fails_the_gate_and_is_not_stored(stub, capsys):
    assert stub("--methods", "clip", *TOY, "--store", "kept.json") == 0
    before = Path("kept.json").read_bytes()
    stub.behave(clip={"fail": "error: gone"})
    assert stub("--check", "kept.json", "--anew") == 1
    assert "as expected" not in capsys.readouterr().out
    assert stub("--methods", "clip", *TOY, "--anew", "--store", "kept.json") == 2
    assert "is not written: clip/toy/toy has no result" in capsys.readouterr().err
    assert Path("kept.json").read_bytes() == before


def test_results_of_other_code_are_measured_again(stub):
    assert stub("--methods", "clip", *TOY, "--store", "kept.json") == 0
    place = Path("work_dirs/reproduce/clip/toy/toy/cell.json")
    record = json.loads(place.read_text())
    place.write_text(json.dumps(record | {"code": "0" * 12}))
    assert stub("--methods", "clip", *TOY) == 0
    assert len(stub.calls()) == 1, "a table may stand on older code"
    assert stub("--check", "kept.json") == 0
    assert len(stub.calls()) == 2, "the gate may not"
    place.write_text(json.dumps(record | {"code": "0" * 12}))
    assert stub("--methods", "clip", *TOY, "--store", "kept.json") == 0
    assert len(stub.calls()) == 3, "nor what it will be held against"


def test_the_gate_keeps_to_the_pictures_and_options_of_its_file(stub, capsys):
    assert stub("--methods", "clip", *TOY, "--store", "kept.json") == 0
    for arguments in (("--limit", "1"), ("--cfg-options", "model.precision=bf16")):
        assert stub("--check", "kept.json", *arguments) == 2
        assert "of other pictures or options" in capsys.readouterr().err


ENTRY = {"miou": 5.0, "tolerance": 0.1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither YAML nor JSON"),
        ("[]", "must have the key 'cells'"),
        ({"cells": {}}, "must map METHOD"),
        ({"cells": {"a/b/c": ENTRY}, "celsl": 1}, "must have the key 'cells', and none but"),
        ({"cells": {"a/b/c": ENTRY}, "limit": 0}, "'limit' must be"),
        ({"cells": {"a/b": ENTRY}}, "cell a/b: a cell is called"),
        ({"cells": {"a/b/c": {"miou": 5.0}}}, "cell a/b/c must have 'miou' and 'tolerance'"),
        ({"cells": {"a/b/c": ENTRY | {"mIoU": 1}}}, "cell a/b/c must have"),
        ({"cells": {"a/b/c": ENTRY | {"miou": "5"}}}, "cell a/b/c: 'miou' must be a number"),
        ({"cells": {"a/b/c": ENTRY | {"tolerance": -1}}}, "'tolerance' must be a number of at least 0"),
        ({"cells": {"a/b/c": ENTRY | {"tolerance": float("inf")}}}, "'tolerance' must be a number"),
        ({"cells": {"a/b/c": ENTRY | {"cfg_options": "a=b"}}}, "must be a list of KEY=VALUE"),
    ],
)
def test_faults_of_a_file_are_named(content, message, tmp_path):
    path = tmp_path / "kept.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(InputError, match=message) as caught:
        gate.load(path)
    assert str(path) in str(caught.value)
