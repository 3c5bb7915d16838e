"""The toy CLIP of twelve blocks with its shipped weights: what the papers report of kinds of methods shows in order."""

import json
from pathlib import Path

import pytest
from drawn_world import QUIET
from runs import result_of, tool

from sclip_seg.evaluate.grid import gate
from sclip_seg.toy.make import make

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "tests" / "expectations" / "toy12.json"
ORDER = ("clip", "gem", "sclip", "naclip", "cass", "trident")
MEASURED = (*ORDER, "maskclip", "proxyclip")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """mIoU of the methods of MEASURED on the first scenes, which they go through together."""
    folder = tmp_path_factory.mktemp("rich")
    limit = gate.load(EXPECTED).limit
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(Path("data/toy_rich"), count=limit, seed=0, name="toy_rich")
        axes = ["--dataset", "toy_rich", "--backbone", "toy12"]
        lines = [[method, *axes, "--work-dir", method, "--cfg-options", *QUIET] for method in MEASURED]
        Path("cells.json").write_text(json.dumps(lines))
        assert tool.main(["--cells", "cells.json"]) == 0
        return {method: result_of(Path(method))["miou"] for method in MEASURED}


def test_methods_stand_as_in_the_papers(measured):
    assert sorted(ORDER, key=measured.get) == [*ORDER]
    assert measured["sclip"] > 2 * measured["clip"]


def test_no_method_drifts(measured):
    expected = gate.load(EXPECTED).expected
    for method in MEASURED:
        miou, tolerance = expected[f"{method}/toy12/toy_rich"]
        assert measured[method] == pytest.approx(miou, abs=tolerance), method
