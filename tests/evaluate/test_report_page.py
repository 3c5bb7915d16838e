"""The report's page: texts escaped, nothing from elsewhere, and looked at in a browser; LaTeX that compiles."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from browser import Page, measure, screenshot, without_own_script
from drawn_world import QUIET, world  # noqa: F401  the fixture of drawn scenes
from made_results import HOSTILE, grid_of, make_result, rows_of, run, write
from PIL import Image
from runs import CONFIGS, tool

from sclip_seg.evaluate.report.grid import MARKS
from sclip_seg.evaluate.report.page import page
from sclip_seg.evaluate.report.words import SHORT
from sclip_seg.version import __version__


def test_hostile_names_stay_text(tmp_path):
    write(
        tmp_path / "a", make_result(method=HOSTILE, dataset=HOSTILE, classes={HOSTILE: 12.0, "=1+1": 3.0, "猫": None})
    )
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    source = (tmp_path / "out/report.html").read_text()
    parsed = Page(without_own_script(source))
    assert not {tag for tag, _ in parsed.tags} & {"script", "img", "link", "iframe", "object"}
    assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
    assert [part for part in parsed.texts if part == HOSTILE]  # whole, as text
    assert html.escape(HOSTILE) in source
    markdown = (tmp_path / "out/report.md").read_text()
    assert "<script" not in markdown
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert set(bars) == {7, 10, 3}  # main table, cells, classes: no name adds a column
    classes = rows_of((tmp_path / "out/classes.csv").read_text())
    assert [row["class"] for row in classes] == [HOSTILE, "'=1+1", "猫"]


def test_page_needs_nothing_else(tmp_path):
    write(tmp_path, make_result())
    source = page(grid_of(tmp_path), [], (0.5, 2.0))
    source = without_own_script(source)
    tags = Page(source).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe"}
    links = [attrs[key] for _, attrs in tags for key in ("src", "href") if key in attrs]
    ids = {f"#{attrs['id']}" for _, attrs in tags if "id" in attrs}
    assert links
    assert set(links) <= ids
    assert "url(" not in source
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source


def test_the_title_says_what_was_measured_and_when(tmp_path):
    for method in ("sclip", "clip", "naclip", "cliptrase"):
        write(tmp_path / method, make_result(method))
    write(tmp_path / "more", make_result(dataset="ade20k"))
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    for name in ("report.html", "report.md"):
        told = html.unescape((tmp_path / "out" / name).read_text()).replace("\\", "")
        assert "4 methods on VOC21 and ADE20K" in told
        assert f"by sclip_seg {__version__}, from 5 result files below {tmp_path}" in told
        assert re.search(r"Written on \d{4}-\d\d-\d\d by", told)
    assert "<title>4 methods on VOC21 and ADE20K: mIoU by" in (tmp_path / "out/report.html").read_text()


def test_every_mark_and_head_has_a_word_that_is_explained():
    assert SHORT.keys() == MARKS.keys()


def test_latex_compiles(tmp_path):
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("there is no pdflatex here")
    write(tmp_path / "a", make_result())
    write(tmp_path / "b", make_result(method=HOSTILE, dataset="猫 é_#%&~^", images=3))
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    order = [program, "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(order, cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "out/report.pdf").stat().st_size > 1000


@pytest.fixture(scope="module")
def toy(world, tmp_path_factory):  # noqa: F811
    """Work folder and report of two methods on three scenes, with pictures."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        for method in ("clip", "sclip"):
            arguments = [str(CONFIGS / f"{method}.py"), "--dataset", "toy", "--backbone", "toy", "--limit", "3"]
            place = ["--work-dir", str(folder / method)]  # which keeps the label maps of a few pictures
            assert tool.main([*arguments, *place, "--cfg-options", *QUIET]) == 0
        assert run(folder, "--out", folder / "out", "--pictures", 2) == 0
    return folder


def test_real_results(toy):
    cells = {row["method"]: row for row in rows_of((toy / "out/cells.csv").read_text())}
    for method, cell in cells.items():
        result = json.loads((toy / method / "result.json").read_text())
        assert float(cell["miou"]) == result["miou"]
        assert cell["marks"] == "partial"
        assert cell["signature"] == result["signature"]
        assert cell["variant"] == ""
        classes = [row for row in rows_of((toy / "out/classes.csv").read_text()) if row["method"] == method]
        assert {row["class"]: row["iou"] for row in classes} == {
            name: "" if row["iou"] is None else str(row["iou"]) for name, row in result["per_class"].items()
        }
    assert cells.keys() == {"clip", "sclip"}


def test_the_same_pictures_under_every_method(toy):
    tags = Page((toy / "out/report.html").read_text()).tags
    words = [attrs["alt"] for tag, attrs in tags if tag == "img"]
    titles = [word.rsplit(" of ", 1)[0] for word in words]
    assert titles == ["picture", "label", "clip, toy", "sclip, toy"] * 2
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for tag, attrs in tags if tag == "img")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_page_in_a_browser(toy, tmp_path, width, dark):
    path = toy / "out/report.html"
    seen = measure(path, width, tmp_path)
    assert seen["viewport"] == width
    assert seen["scroll"] <= width, "the page overflows"
    assert seen["text"] > 1000, "the page is empty"
    assert seen["boxes"] >= 3
    assert seen["protocols"] <= width, "a protocol is not whole in sight"
    (_, before, count), (down, most_first, _), (up, least_first, left) = seen["sorted"]
    assert (down, up, count, left) == ("descending", "ascending", 2, 2)
    assert most_first == sorted(before, key=float, reverse=True)
    assert least_first == most_first[::-1]
    pixels = np.asarray(Image.open(screenshot(path, width, 1000, tmp_path, dark)).convert("RGB")).astype(int)
    assert pixels.shape == (1000, width, 3)
    assert pixels.std() > 10, "the page is blank"
    assert (pixels[:, -3:].mean() < 60) == dark  # the paper beside the boxes


def test_the_browser_test_sees_an_empty_and_an_overflowing_page(toy, tmp_path):
    source = (toy / "out/report.html").read_text()
    wide = tmp_path / "wide.html"
    wide.write_text(source.replace("overflow-x: auto", "overflow-x: visible"))
    assert measure(wide, 400, tmp_path)["scroll"] > 400
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>report</title>")
    assert measure(empty, 400, tmp_path)["text"] == 0
