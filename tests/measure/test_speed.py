"""`sclip-seg speed` measures what it says it measures; how fast it is, is for `make speed` to say."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from scored import maps_of
from waiting import PATIENCE

from sclip_seg.measure import speed

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "speed.py"
SMALL = ["--backbone", "openai_vit_b32", "--rounds", "1", "--precision", "fp32"]


def test_rows_have_every_field_and_consistent_ratios(tmp_path):
    command = [sys.executable, TOOL, "--cases", "voc21", *SMALL, "--out", tmp_path / "speed.json"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    (row,) = json.loads((tmp_path / "speed.json").read_text())
    assert {"case", "precision", "device", *speed.COLUMNS} <= row.keys()
    assert row["windows"] == 6
    assert row["ratio_to_trunk"] == row["ours_s"] / row["trunk_s"]
    assert row["ratio_to_reference"] == row["reference_s"] / row["ours_s"]
    assert 0 < row["peak_extra_mb"] < 2000


def test_ours_and_the_reference_do_the_same_work(monkeypatch):
    bench = speed.Bench(speed.CASES["voc21"], "sclip", "openai_vit_b32", "fp32")
    chain = speed.plain_chain()
    found = {}
    monkeypatch.setattr(chain, "labels", lambda probability, threshold: found.update(probability=probability))
    with torch.no_grad():
        bench.reference(chain)
        data = bench.model.data_preprocessor({"inputs": [bench.picture]})["inputs"]
        (maps,) = maps_of(bench.model, data, [bench.case.size])
        ours = bench.model.labelling.probabilities(maps)
    expected = found["probability"]  # with the small classes at zero
    torch.testing.assert_close(ours * (expected > 0), expected, rtol=0, atol=2e-4)
