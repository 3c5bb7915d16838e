"""Ranks in the papers against ranks here."""

import json
from pathlib import Path

import pytest

from sclip_seg.errors import InputError
from sclip_seg.evaluate.published_figures import Figure
from sclip_seg.toy import ranks, ranks_command

STORED = Path(__file__).parents[1] / "expectations" / "toy.json"


def figure(method, dataset, miou, protocol="own", comparable=True, **other):
    return Figure(method, "openai_vit_b16", dataset, miou, protocol, "a paper", comparable=comparable, **other)


def test_gains_are_over_sclip_where_both_have_a_figure():
    three = ("voc21", "voc20", "ade20k")
    figures = [figure("sclip", name, 40 + i, "sclip") for i, name in enumerate(three)]
    figures += [figure("mine", name, 45 + i) for i, name in enumerate(three)] + [figure("mine", "cityscapes", 99)]
    figures += [figure("mine", "voc21", 0, variant="half")]
    figures += [figure("few", name, 50) for name in three[:2]]
    assert ranks.gains(figures) == {"sclip": 0, "mine": 5}


def test_the_papers_own_order_is_found():
    gains = ranks.gains()
    assert len(gains) >= 15
    assert gains["clip"] < gains["maskclip"] < gains["sclip"] < gains["naclip"]
    assert "cliptrase" not in gains


def test_correlation_of_orders():
    assert ranks.correlation({"a": 1, "b": 2, "c": 3, "d": 0}, {"a": 10, "b": 20, "c": 30}) == (pytest.approx(1), 3)
    assert ranks.correlation({"a": 1, "b": 2, "c": 3}, {"a": 3, "b": 2, "c": 1}) == (pytest.approx(-1), 3)
    with pytest.raises(InputError, match="2 methods are both"):
        ranks.correlation({"a": 1, "b": 2}, {"a": 1, "b": 2})
    assert ranks.ranks([3.0, 1.0, 3.0]) == ["1.5", "3", "1.5"]


def test_the_command_prints_files_side_by_side(tmp_path, capsys):
    stored = json.loads(STORED.read_text())
    stored["cells"]["clip/toy/toy"]["miou"] = 99.0
    (tmp_path / "other.json").write_text(json.dumps(stored))
    assert ranks_command.main([str(STORED), str(tmp_path / "other.json")]) == 0
    printed = capsys.readouterr().out
    assert "toy: Spearman's correlation" in printed
    assert "other: Spearman's correlation" in printed
    stored["cells"]["clip/toy/toy_stuff"] = stored["cells"].pop("clip/toy/toy")
    (tmp_path / "other.json").write_text(json.dumps(stored))
    assert ranks_command.main([str(tmp_path / "other.json")]) == 2
