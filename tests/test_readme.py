"""What a newcomer reads first: Python examples of README and pages run, and every tool's --help fits a terminal."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import sclip_seg
import sclip_seg_cli
from sclip_seg.choices import choices
from sclip_seg.toy.world import draw
from sclip_seg_cli import WORDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.stem}: {block.splitlines()[0][:40]}")
    for path in PAGES
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    if not re.match(r"# \w+/", block)  # a file to be written, which test_docs.py runs with its test
]
TOOLS = sorted((ROOT / "tools").glob("*.py"))


def test_the_readme_has_examples_and_is_read_in_three_minutes():
    assert "sclip_seg.load" in README
    assert "inference_model" in README
    assert README.count("\n") < 150


def test_the_readme_names_every_method_once():
    table = README.split("| what they change | methods |", 1)[1].split("\n\n", 1)[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(choices(ROOT / "configs")["method"])


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_of_the_pages_run(block, tmp_path, monkeypatch):
    """With the toy backbone where none or OpenAI's is named."""
    monkeypatch.chdir(tmp_path)
    for variable in ("SCLIP_BACKBONE", "SCLIP_DATASET"):
        monkeypatch.setenv(variable, "toy")
    defaults = tuple("toy" if value == "openai_vit_b16" else value for value in sclip_seg.load.__defaults__)
    monkeypatch.setattr(sclip_seg.load, "__defaults__", defaults)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    Image.fromarray(draw(1, 4, 72, 96, count=(4, 6)).image).save("picture.jpg")
    with torch.random.fork_rng():
        exec(compile(block.replace("openai_vit_b16", "toy"), "a page", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_shows_or_names_is_there(page):
    """Pages that are made while the site is built are looked for there (`make docs`)."""
    made = ("reference/", "data.md", "changes.md")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    inner = [link for link in links if "://" not in link and not link.removeprefix("../").startswith(made)]
    assert [link for link in inner if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_help_fits_80_columns_and_says_what_it_is_for(tool, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [str(tool), "--help"])
    monkeypatch.syspath_prepend(str(tool.parent))
    before = set(sys.modules)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(tool), run_name="__main__")
    for name in set(sys.modules) - before:  # a tool's neighbours: `test` is a package of Python's too
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tool.parent)):
            del sys.modules[name]
    assert ended.value.code == 0
    assert_is_help(capsys.readouterr().out, f"tools/{tool.name}")


@pytest.mark.parametrize("word", WORDS)
def test_help_of_a_word_does_too(word, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        sclip_seg_cli.main([word, "--help"])
    assert ended.value.code == 0
    assert_is_help(capsys.readouterr().out, f"sclip-seg {word}")


def assert_is_help(text, called):
    lines = text.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) > 4
    assert lines[0].startswith(f"usage: {called} ")


def test_help_lists_the_words(capsys):
    assert sclip_seg_cli.main(["--help"]) == 0
    assert_is_help(capsys.readouterr().out, "sclip-seg WORD")
