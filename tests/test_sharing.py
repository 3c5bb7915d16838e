"""Shares of a run among processes, and a run that was killed and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg import sharing
from sclip_seg.errors import InputError

ROOT = Path(__file__).parents[1]
TOY = ["--dataset", "toy", "--backbone", "toy", "--cfg-options", "model.backbone.pretrained=None"]


@given(st.integers(0, 40), st.integers(1, 6), st.sets(st.integers(0, 39)))
def test_every_picture_that_is_not_done_goes_to_one_rank(total: int, ranks: int, done: set[int]) -> None:
    done = {index for index in done if index < total}
    shares = []
    for rank in range(ranks):
        sampler = sharing.Disjoint(range(total))
        sampler.rank, sampler.ranks, sampler.done = rank, ranks, frozenset(done)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sorted(index for share in shares for index in share) == sorted(set(range(total)) - done)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def journal_line(record: dict) -> str:
    text = json.dumps(record)
    return f"{sharing.zlib.crc32(text.encode()):08x} {text}\n"


def test_a_line_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    counts = [[1, 2], [3, 4], [5, 6]]
    whole = journal_line({"key": "k"}) + journal_line({"index": 4, "counts": counts})
    (tmp_path / "rank0.jsonl").write_text(whole + journal_line({"index": 5, "counts": counts})[:-9])
    (tmp_path / "rank1.jsonl").write_text(journal_line({"key": "k"}) + journal_line({"index": 7, "counts": counts}))
    done = sharing.read(tmp_path, "k")
    assert sorted(done) == [4, 7]
    assert np.array_equal(done[4], counts)
    assert done[4].dtype == np.int64


def test_counts_of_other_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rank0.jsonl").write_text(journal_line({"key": "before"}))
    with pytest.raises(InputError, match="other settings"):
        sharing.read(tmp_path, "now")


def evaluate(folder: Path, *more: str) -> list[str]:
    slow = ["model.window.batch=1", "test_dataloader.num_workers=0"]
    return [
        sys.executable,
        str(ROOT / "tools/test.py"),
        str(ROOT / "configs/sclip.py"),
        *TOY,
        *slow,
        "--work-dir",
        str(folder),
        *more,
    ]


def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools/toy_world.py", "--count", "60"], cwd=tmp_path, check=True)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    journal = killed / "progress" / "rank0.jsonl"
    process = subprocess.Popen(evaluate(killed), cwd=tmp_path)
    while not journal.exists() or journal.read_bytes().count(b"\n") < 6:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "result.json").exists()
    assert 0 < journal.read_bytes().count(b'"index"') < 60

    subprocess.run(evaluate(killed, "--resume"), cwd=tmp_path, check=True)
    subprocess.run(evaluate(whole), cwd=tmp_path, check=True)
    resumed, uninterrupted = (json.loads((folder / "result.json").read_text()) for folder in (killed, whole))
    for key in ("miou", "aacc", "macc", "images", "per_class", "signature"):
        assert resumed[key] == uninterrupted[key]
    assert not journal.exists(), "a finished run leaves no journal"
