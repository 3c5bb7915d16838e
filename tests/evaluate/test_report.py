"""`sclip-seg report` on made result files: what is read, what stands beside what, and what an average covers."""

import re
from pathlib import Path

import pytest
from browser import Page, colours
from made_results import Figure, grid_of, make_result, rows_of, run, write

from sclip_seg.evaluate.published_figures import load
from sclip_seg.evaluate.report.figures import ablation_charts
from sclip_seg.evaluate.report.gather import parse_signature
from sclip_seg.evaluate.report.page import page

FILES = {"report.md", "report.html", "report.tex", "cells.csv", "classes.csv"}


def test_every_file_is_written_with_the_totals(tmp_path, capsys):
    write(tmp_path / "a", make_result(miou=60.25))
    write(tmp_path / "b", make_result(dataset="ade20k", miou=16.0))
    write(tmp_path / "c", make_result(method="naclip", images=100))
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    said = "3 measured cells, 2 methods, 2 datasets, 2 complete, 1 partial"
    assert said in capsys.readouterr().out
    for name in ("report.md", "report.html"):
        assert said in (tmp_path / "out" / name).read_text()
    cells = {(row["method"], row["dataset"]): row for row in rows_of((tmp_path / "out/cells.csv").read_text())}
    assert cells.keys() == {("sclip", "voc21"), ("sclip", "ade20k"), ("naclip", "voc21")}
    assert float(cells["sclip", "voc21"]["miou"]) == 60.25
    assert [cells[key]["marks"] for key in sorted(cells)] == ["partial", "", ""]
    assert "38.12" in (tmp_path / "out/report.tex").read_text()  # (60.25 + 16) / 2


def test_shipped_figures_stand_beside_the_cell(tmp_path):
    figures = load()
    write(tmp_path / "a", make_result(miou=59.0))
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    (cell,) = rows_of((tmp_path / "out/cells.csv").read_text())
    mine = [f for f in figures if (f.method, f.backbone, f.dataset) == ("sclip", "openai_vit_b16", "voc21")]
    first = next(f for f in mine if f.comparable and not f.variant)
    assert float(cell["published"]) == first.miou
    assert float(cell["difference"]) == pytest.approx(59.0 - first.miou)
    text = Page((tmp_path / "out/report.html").read_text()).texts
    assert all(any(figure.source in part for part in text) for figure in mine)


@pytest.mark.parametrize(
    ("difference", "colour"),
    [(0.0, "good"), (0.5, "good"), (-0.5, "good"), (0.51, "near"), (-2.0, "near"), (2.01, "far"), (-30, "far")],
)
def test_colour_by_tolerance(tmp_path, difference, colour):
    write(tmp_path, make_result(miou=50 + difference))
    text = page(grid_of(tmp_path, [Figure()]), [], (0.5, 2.0))
    assert colours(text) == [f"diff {colour}"] * 2  # in the main table and with the cell's protocol


def test_what_may_not_be_compared_is_grey_and_marked(tmp_path):
    write(tmp_path / "partial", make_result(images=9))
    write(tmp_path / "small", make_result(dataset="ade20k", images=3, images_in_dataset=3))
    write(tmp_path / "stride", make_result("naclip", options={"model.window.stride": 56, "model.window.crop": 224}))
    write(tmp_path / "cliptrase", make_result("cliptrase", labels="CentreCrop(size=336)"))
    write(tmp_path / "harness", make_result("clip"))
    figures = [
        Figure(dataset="voc21"),
        Figure(dataset="ade20k"),
        *(Figure(method=m) for m in ("naclip", "cliptrase")),
        Figure(method="clip", protocol="another", comparable=False),
    ]
    grid = grid_of(tmp_path, figures)
    marks = {(row.method, cell.result.dataset): cell.marks for row, cell in grid.cells}
    assert marks["sclip", "voc21"] == ["partial"]
    assert marks["sclip", "ade20k"] == ["partial"]  # the whole folder, but not the whole benchmark
    assert marks["naclip", "voc21"] == ["departs"]
    assert marks["cliptrase", "voc21"] == ["own labels"]
    assert marks["clip", "voc21"] == []
    text = page(grid, [], (100.0, 100.0))
    assert (
        colours(text) == ["diff apart", "diff good", *["diff apart"] * 3] * 2
    )  # CLIPtrase's figure is of its own labels
    (naclip,) = (row for row in grid.rows if row.method == "naclip")
    assert naclip.variant == "window.crop=224, window.stride=56"


def test_average_takes_complete_cells_of_one_protocol(tmp_path):
    for index, dataset in enumerate(("voc21", "ade20k", "cityscapes")):
        write(tmp_path / dataset, make_result(dataset=dataset, miou=10.0 * (index + 1)))
    write(tmp_path / "part", make_result(dataset="context59", miou=99.0, images=5))
    options = {"model.logit_scale": 10}
    write(tmp_path / "other", make_result(dataset="coco_object", miou=98.0, options=options))
    write(tmp_path / "bf16", make_result(dataset="voc20", miou=97.0, precision="bf16"))
    write(tmp_path / "l14", make_result(dataset="voc20", miou=96.0, backbone="openai_vit_l14"))
    grid = grid_of(
        tmp_path, [Figure(dataset=d, miou=m) for d, m in (("voc21", 12), ("ade20k", 21), ("cityscapes", 30))]
    )
    averages = {(row.backbone, row.variant): row.average for row in grid.rows}
    assert averages == {
        ("openai_vit_b16", "precision:fp32"): pytest.approx(20.0),
        ("openai_vit_b16", "precision:bf16"): None,
        ("openai_vit_b16", "logit_scale=10, precision:fp32"): None,
        ("openai_vit_l14", ""): None,
    }
    (row,) = (row for row in grid.rows if row.average)
    assert row.averaged == ["voc21", "cityscapes", "ade20k"]
    assert row.published_average == pytest.approx(21.0)
    text = page(grid, [], (0.5, 2.0))
    assert "3: VOC21, Cityscapes, ADE20K" in Page(text).texts
    assert "published 21.00" in text


def test_other_labels_make_a_row_of_their_own(tmp_path):
    write(tmp_path / "voc21", make_result())
    write(tmp_path / "ade20k", make_result(dataset="ade20k", labels="CentreCrop(size=336)"))
    assert [row.average for row in grid_of(tmp_path).rows] == [None, None]
    crop = make_result("cliptrase")
    crop["config"]["test_dataloader"]["dataset"]["pipeline"].append({"type": "CentreCrop", "size": 99})
    write(tmp_path / "crop", crop)
    assert [cell.marks for row, cell in grid_of(tmp_path).cells if row.method == "cliptrase"] == [["departs"]]


def test_a_field_that_older_signatures_lack_was_off(tmp_path):
    old = make_result(dataset="ade20k")
    old["signature"] = old["signature"].replace("|guides:none", "")
    write(tmp_path / "old", old)
    write(tmp_path / "new", make_result())
    assert [len(row.cells) for row in grid_of(tmp_path).rows] == [2]


def test_the_classes_of_interest_have_a_column_where_a_benchmark_has_some(tmp_path):
    write(tmp_path / "voc", make_result())
    assert run(tmp_path, "--out", tmp_path / "without") == 0
    write(tmp_path / "mess", make_result(dataset="potsdam_mess") | {"coi_miou": 43.21})
    assert run(tmp_path, "--out", tmp_path / "with") == 0
    for out, found in (("without", False), ("with", True)):
        text = (tmp_path / out / "report.html").read_text()
        heads = [re.sub("<[^>]*>", "", head) for head in re.findall("<th scope=.col.*?</th>", text)]
        markdown = (tmp_path / out / "report.md").read_text()
        assert ("of interest" in heads, "CoI-mIoU |" in markdown) == (found, found)
        assert (">43.21<" in text, "| 43.21 |" in markdown) == (found, found)
    cells = rows_of((tmp_path / "with/cells.csv").read_text())
    assert {cell["dataset"]: cell["coi_miou"] for cell in cells} == {"voc21": "", "potsdam_mess": "43.21"}


def test_no_published_average_unless_every_cell_has_a_figure(tmp_path):
    for dataset in ("voc21", "ade20k"):
        write(tmp_path / dataset, make_result(dataset=dataset))
    assert grid_of(tmp_path, [Figure()]).rows[0].published_average is None
    assert grid_of(tmp_path, [Figure(), Figure(dataset="ade20k", comparable=False)]).rows[0].published_average is None


def test_of_two_runs_of_a_cell_the_complete_one_is_shown(tmp_path):
    write(tmp_path / "whole", make_result(miou=40.0))
    write(tmp_path / "part", make_result(miou=70.0, images=5))
    grid = grid_of(tmp_path)
    assert [cell.result.miou for _, cell in grid.cells] == [40.0]
    assert len(grid.warnings) == 1
    assert "part/result.json" in grid.warnings[0]


def test_another_vocabulary_than_the_columns_is_marked(tmp_path):
    for method in ("sclip", "clip", "naclip"):
        words = "voc21_own" if method == "naclip" else "voc21_bg26"
        write(tmp_path / method, make_result(method, vocabulary=words))
    marks = {row.method: cell.marks for row, cell in grid_of(tmp_path).cells}
    assert marks == {"sclip": [], "clip": [], "naclip": ["vocabulary"]}


def test_variants_of_one_method_make_a_chart(tmp_path):
    write(tmp_path / "own", make_result())
    write(tmp_path / "qq", make_result(options={"model.backbone.tail.attention.type": "qq"}, miou=33.0))
    (chart,) = ablation_charts(grid_of(tmp_path))
    assert [bar.name for bar in chart.bars] == ["the method's own", "backbone.tail.attention.type=qq"]
    assert "33.00" in chart.svg()


MANGLED = {
    "truncated": '{"method": "scl',
    "list": "[]",
    "binary": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
    "empty": "",
    "no_miou": {"miou": None},
    "text": {"miou": "60"},
    "nan": {"miou": float("nan")},
    "beyond": {"miou": 101.0},
    "truth": {"miou": True},
    "flat": {"backbone": "vit"},
    "no_classes": {"per_class": {}},
    "bad_class": {"per_class": {"dog": {"acc": 3}}},
    "count": {"images": -1},
    "interest": {"coi_miou": 101.0},
}


def test_what_cannot_be_used_is_named_and_left_out(tmp_path, capsys):
    write(tmp_path / "work/good", make_result())
    for name, content in MANGLED.items():
        folder = tmp_path / "work" / name
        write(folder, make_result() | content if isinstance(content, dict) else content)
    for key in make_result():
        without = {k: v for k, v in make_result().items() if k != key}
        write(tmp_path / "lacks" / key, without)
    assert run(tmp_path / "work", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert said.count("warning: ") == len(MANGLED)
    listed = (tmp_path / "out/report.html").read_text()
    for name in MANGLED:
        assert f"work/{name}/result.json: " in said
        assert f"work/{name}/result.json: " in listed
    assert len(rows_of((tmp_path / "out/cells.csv").read_text())) == 1
    status = run(tmp_path / "lacks", "--out", tmp_path / "none")
    said = capsys.readouterr().err
    unused = {"versions", "commit", "config_digest", "processes", "templates"}
    assert all((f"'{key}" in said) == (key not in unused) for key in make_result())
    assert status == 0  # those without what is not shown are whole


@pytest.mark.parametrize("content", [None, "{", {"method": "sclip"}])
def test_nothing_to_show_is_an_error_and_writes_nothing(tmp_path, capsys, content):
    (tmp_path / "work").mkdir()
    if content:
        write(tmp_path / "work/a", content)
    assert run(tmp_path / "work", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert "sclip-seg test" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [("missing",), (".", "--labels", "missing"), (".", "--labels", "stray")])
def test_bad_arguments_write_nothing(tmp_path, monkeypatch, capsys, bad):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "work/a", make_result())
    (tmp_path / "stray").mkdir()
    assert run(*bad, "--out", "out") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not Path("out").exists()


def test_signature_fields():
    assert parse_signature("a:1|b:x|y|c:2:3") == {"a": "1", "b": "x|y", "c": "2:3"}
