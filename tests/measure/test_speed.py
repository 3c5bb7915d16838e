"""`sclip-seg speed` measures what it says it measures; how fast it is, is for `make speed` to say."""

import json
import multiprocessing

import numpy as np
import pytest
import torch
from scored import maps_of

from sclip_seg.measure import bench, speed, speed_command
from sclip_seg.registry import REGIONS

SMALL = ["--backbone", "toy", "--rounds", "1", "--precision", "fp32"]
CASE = speed_command.Case("toy", (64, 96))


def test_rows_have_every_field_and_consistent_ratios(tmp_path, monkeypatch):
    monkeypatch.setitem(speed_command.CASES, "voc21", CASE)
    fork = multiprocessing.get_context("fork")  # which has imported everything
    monkeypatch.setattr(speed.multiprocessing, "get_context", lambda way: fork)
    assert speed_command.main(["--cases", "voc21", *SMALL, "--out", str(tmp_path / "speed.json")]) == 0
    (row,) = json.loads((tmp_path / "speed.json").read_text())
    assert {"case", "precision", "device", *speed.COLUMNS} <= row.keys()
    assert row["windows"] == 2
    assert row["ratio_to_trunk"] == row["ours_s"] / row["trunk_s"]
    assert row["ratio_to_reference"] == row["reference_s"] / row["ours_s"]
    assert 0 < row["peak_extra_mb"] < 2000


def test_ours_and_the_reference_do_the_same_work(monkeypatch):
    bench = speed.Bench(CASE, "sclip", "toy", "fp32")
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


@pytest.mark.parametrize("count", [1, 7, 100, 300])
def test_regions_that_are_read_from_disk(count, tmp_path):
    source = REGIONS.build(bench.maps(tmp_path, (37, 50), count))
    found = source(np.zeros((37, 50, 3), np.uint8), bench.NAME)
    assert found.count == count
    assert not source.keeps


@torch.no_grad()
@pytest.mark.parametrize("method", ["zsseg", "scan", "corrclip_v2"])
def test_the_floor_has_the_crops_and_the_whole_picture(method, monkeypatch):
    """Nothing that a method sends through a tower is left out of the sum that it is timed beside."""
    made = bench.Bench(bench.Case("toy", (64, 96)), method, "toy", "fp32", regions=5)
    seen, visual = [], made.model.backbone.clip.visual
    handles = [visual.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))]
    if method == "corrclip_v2":
        guide = made.model.backbone.tail.guide
        handles.append(guide.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape[2:]))))
    made.towers()()
    for handle in handles:
        handle.remove()
    assert ((64, 96) in seen) if method == "corrclip_v2" else sum(seen) == len(made.windows) + 5
    made.ours()
