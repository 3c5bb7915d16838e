"""`sclip-seg gpu-check` runs, on the CPU in its smallest form, and what it says of errors, bounds and time is so."""

import json
import math

import numpy as np
import pytest
import torch
from made_parity import features, make, reference_of, stored

from sclip_seg.measure.gpu import check, command, precision, speed
from sclip_seg.measure.gpu.sheet import Sheet, beyond


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Exit status and file of one quick run."""
    path = tmp_path_factory.mktemp("quick") / "check.json"
    threads = torch.get_num_threads()
    status = command.main(["--quick", "--methods", "sclip", "proxyclip", "--out", str(path)])
    torch.set_num_threads(threads)
    return status, json.loads(path.read_text())


def test_quick_run(quick):
    status, found = quick
    assert status == 0
    assert found["complete"]
    assert found["bad"] == 0
    sections = {row["section"] for row in found["rows"]}
    assert sections == {"machine", "ceilings", "world", "labels", "features", "built", "kernels", "speed", "bands"}


def test_every_precision_is_compared(quick):
    rows = {(row["section"], row["name"]): row for row in quick[1]["rows"]}
    for section in ("labels", "features"):
        for method in ("sclip", "proxyclip"):
            assert rows[section, f"{method} fp32"]["equal"] == 1.0  # it is the reference's own device
            for half in ("bf16", "fp16"):
                assert 0.9 < rows[section, f"{method} {half}"]["equal"] <= 1.0
    assert 0 < rows["features", "sclip fp16"]["relative"] < rows["features", "sclip bf16"]["relative"]


def test_speeds_are_ratios_of_what_was_timed(quick):
    rows = [row for row in quick[1]["rows"] if row["section"] == "speed"]
    assert [row["pictures"] for row in rows] == [1, 2, 1, 2]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["floor_ms"])
        assert row["pictures_per_s"] == pytest.approx(1000 / row["ours_ms"])
        assert len(row["profile"]["top"]) == 10
        assert not row["notes"]


def test_an_error_stops_nothing_and_counts(tmp_path):
    sheet = Sheet(tmp_path / "sheet.json", 100)
    sheet.attempt("some", "broken", lambda: 1 / 0)
    sheet.attempt("some", "out of bounds", lambda: {"gap": 2.0, "off": beyond({"gap": ("<=", 1.0)}, {"gap": 2.0})})
    sheet.attempt("some", "sound", lambda: {"gap": 0.5})
    written = json.loads(sheet.path.read_text())
    assert [row["status"] for row in written["rows"]] == ["FAILED", "FAILED", "ok"]
    assert "ZeroDivisionError" in written["rows"][0]["off"][0]
    assert written["bad"] == 2
    assert not written["complete"]


def test_what_no_time_was_left_for_is_not_passed(tmp_path):
    sheet = Sheet(tmp_path / "sheet.json", 0)
    row = sheet.attempt("some", "late", lambda: pytest.fail("begun after the limit"))
    assert row["status"] == "skipped"
    assert sheet.bad == [row]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.31])
def test_no_number_keeps_to_no_bound(value, tmp_path):
    assert beyond({"moved": ("<=", 0.3)}, {"moved": value})
    assert beyond({"equal": (">=", 0.99)}, {"equal": math.nan})
    sheet = Sheet(tmp_path / "sheet.json", 100)
    sheet.attempt("some", "row", lambda: {"value": value})
    json.loads(sheet.path.read_text(), parse_constant=pytest.fail)  # plain JSON


def test_features_that_are_no_numbers_are_off():
    expected = torch.nn.functional.normalize(torch.randn(1, 8, 2, 2), dim=1)
    found = expected.clone()
    found[0, :, 0, 0] = math.nan
    queries = torch.randn(3, 8)
    assert precision.compare_features(expected, expected, queries, "fp32", 1)["off"] == []
    assert precision.compare_features(found, expected, queries, "bf16", 3)["off"]


def test_flops_of_a_known_tower():
    """Two operations for each of the four C x C projections and two C x 4C layers, and for q k and A v."""
    bench = speed.Bench(speed.Case("toy", speed.SIZES["toy"]), "clip", "toy", "fp32")
    width, blocks, tokens = 128, 5, 65
    assert speed.tower_flops(bench) == blocks * (tokens * 24 * width**2 + 4 * tokens**2 * width)


@pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
def test_parity_names_what_is_off_and_why(tmp_path):
    folder = make(tmp_path / "made")
    with reference_of(folder) as reference:
        arrays = stored("tall", features(reference, "tall", tail=dict(type="MaskCLIP")))
    np.savez(folder / "visual_maskclip.npz", **arrays, nowhere=arrays["tall"])
    row = check.parity(folder, torch.device("cpu"))
    assert row["cases"] == 3
    assert row["kinds"]["features"]["cases"] == 3
    assert row["kinds"]["features"]["largest"] < 1e-6
    (off,) = row["off"]
    assert off.startswith("maskclip nowhere: InputError: recipe.py makes no input 'nowhere'")
