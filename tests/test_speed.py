"""`tools/speed.py` measures what it says it measures; how fast it is, is for `make speed` to say."""

import importlib.util
import json
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def load_tool():
    spec = importlib.util.spec_from_file_location("sclip_seg_tools_speed", ROOT / "tools" / "speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_have_every_field_and_consistent_ratios(tmp_path, monkeypatch):
    tool = load_tool()
    monkeypatch.setattr(tool, "peak_extra", lambda *_: 12.0)  # a process of its own, tested below
    out = tmp_path / "speed.json"
    quick = ["--cases", "voc21", "ade20k_large", "--backbone", "toy", "--rounds", "1", "--precision", "fp32"]
    assert tool.main([*quick, "--out", str(out)]) == 0
    timed, untimed = json.loads(out.read_text())
    assert {"case", "precision", "device", *tool.COLUMNS} <= timed.keys()
    assert timed["windows"] == 6
    assert timed["ratio_to_trunk"] == timed["ours_s"] / timed["trunk_s"]
    assert timed["ratio_to_reference"] == timed["reference_s"] / timed["ours_s"]
    assert untimed["trunk_s"] is None
    assert untimed["peak_extra_mb"] == 12.0


def test_ours_and_the_reference_do_the_same_work(monkeypatch):
    tool = load_tool()
    bench = tool.Bench(tool.CASES["voc21"], "sclip", "toy", "fp32")
    chain = tool.plain_chain()
    found = {}
    monkeypatch.setattr(chain, "labels", lambda probability, threshold: found.update(probability=probability))
    with torch.no_grad():
        bench.reference(chain)
        data = bench.model.data_preprocessor({"inputs": [bench.picture]})["inputs"]
        maps = next(bench.model.score(data, [bench.case.size]))
        ours = bench.model.labelling.probabilities(maps)
    expected = found["probability"]  # with the small classes at zero
    torch.testing.assert_close(ours * (expected > 0), expected, rtol=0, atol=1e-5)


def test_memory_is_measured_above_the_loaded_model():
    tool = load_tool()
    assert 0 < tool._peak_extra(tool.CASES["voc21"], "sclip", "toy", "fp32") < 2000
