"""OpenMMLab's maintained forks in place of its own packages (`make test-forks`): the same scores to the last digit.

SCLIP_SEG_FORKS names the folder that they lie in, as `pip install --target` puts them; without it these are skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sclip_seg.evaluate import test as tool
from sclip_seg.toy.make import make

ROOT = Path(__file__).parents[1]
FORKS = os.environ.get("SCLIP_SEG_FORKS")
CELLS = ["sclip", "naclip", "--dataset", "toy", "--backbone", "toy", "--limit", "3"]
SMALL = ["--cfg-options", "test_dataloader.num_workers=0"]
pytestmark = pytest.mark.skipif(not FORKS, reason="SCLIP_SEG_FORKS names no folder with the forks")


def with_forks(*command):
    """What a command prints, of a process that finds the forks before what is installed."""
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([FORKS, str(ROOT)])}
    done = subprocess.run([sys.executable, *command], env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_are_found_under_the_old_names():
    told = with_forks("-c", "import mmcv, mmengine, mmseg; print(*(p.__file__ for p in (mmcv, mmengine, mmseg)))")
    assert [Path(path).parents[1] for path in told.split()] == [Path(FORKS)] * 3


def test_scores_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=3, seed=0)
    with_forks("-m", "sclip_seg_cli", "test", *CELLS, *SMALL)
    theirs = results()
    assert tool.main([*CELLS, *SMALL]) == 0
    ours = results()
    assert {*ours} == {"sclip", "naclip"}
    assert ours == theirs


def results():
    """What the runs have measured, by method, apart from how long it took and what with; they are gone then."""
    found = {}
    for path in Path("work_dirs").rglob("result.json"):
        result = json.loads(path.read_text())
        found[result["method"]] = [result[key] for key in ("miou", "aacc", "macc", "per_class", "images", "signature")]
        path.unlink()
    return found
