"""The documentation: what its pages tell to write works with the test beside it, cards say what the code says.

`make docs` builds the site itself, and ends at the first link that leads nowhere.
"""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import cards
import links
import pytest
import tables
from mmseg.registry import DATASETS
from PIL import Image
from safetensors.torch import save_file

from sclip_seg import config as configs
from sclip_seg.choices import choices
from sclip_seg.evaluate.published_figures import load
from sclip_seg.registry import ATTENTION, REGIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
METHODS = choices(ROOT / "configs")["method"]
# Of every kind: an attention, a tail of its own, a stage with a guide, regions, RADIO, figures in many variants.
SHOWN = ("sclip", "resclip", "lposs", "corrclip", "radseg_plus")


def files(page):
    """The files that a page shows, by the path in their first line."""
    text = (ROOT / "docs" / "add" / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(# (\w+/\S+)\n.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return {path: block for block, path in blocks}


def run_test(source, request):
    """Runs the one test of a file with the fixtures that it asks for."""
    names: dict = {}
    exec(compile(source, "a page's test", "exec"), names)
    (test,) = [thing for name, thing in names.items() if name.startswith("test_")]
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})


def load_module(path, source):
    """The file as a module of the package, where it would lie."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    exec(compile(source, path, "exec"), vars(module))
    return module


@pytest.fixture
def config_folder(tmp_path, monkeypatch):
    """`config_folder(path, text)`: configs/ in the working folder, with that file among them."""
    monkeypatch.chdir(tmp_path)

    def write(path, text):
        for source in (ROOT / "configs").rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(source)
        (tmp_path / path).write_text(text)

    return write


def test_the_method_of_the_page(request, config_folder, monkeypatch):
    shown = files("method")
    monkeypatch.setattr(ATTENTION, "_module_dict", dict(ATTENTION.module_dict))
    module = load_module("sclip_seg/methods/mine.py", shown["sclip_seg/methods/mine.py"])
    assert ATTENTION.get("mine") is module.mine
    run_test(shown["tests/methods/test_mine.py"], request)
    config_folder("configs/mine.py", shown["configs/mine.py"])
    model = configs.load_config("configs/mine.py", dataset="cityscapes", backbone="toy").model
    assert (model.backbone.tail.attention.type, model.short_side) == ("mine", 560)


def test_the_dataset_of_the_page(request, config_folder):
    """tests/data/test_custom_dataset.py scores it."""
    shown = files("dataset")
    config_folder("configs/_base_/datasets/garden.py", shown["configs/_base_/datasets/garden.py"])
    for folder, suffix, mode in (("pictures", "jpg", "RGB"), ("labels", "png", "L")):
        Path("data/garden", folder).mkdir(parents=True)
        Image.new(mode, (30, 20), 2 if mode == "L" else "green").save(f"data/garden/{folder}/plot.{suffix}")
    run_test(shown["tests/data/test_garden.py"], request)
    assert "FolderDataset" in DATASETS.module_dict


def test_the_backbone_of_the_page(request, config_folder, tiny, build_dense):
    """With a tiny tower in the place of ViT-B/16."""
    shown = files("backbone")
    text = shown["configs/_base_/backbones/mine.py"]
    assert 'arch="ViT-B-16"' in text
    config_folder("configs/_base_/backbones/mine.py", text.replace("ViT-B-16", tiny))
    Path("data/weights").mkdir(parents=True)
    save_file(build_dense(quick_gelu=False).clip.state_dict(), "data/weights/mine.safetensors")
    run_test(shown["tests/towers/test_mine.py"], request)


def test_the_provider_of_the_page(request, monkeypatch):
    shown = files("regions")
    monkeypatch.setattr(REGIONS, "_module_dict", dict(REGIONS.module_dict))
    module = load_module("sclip_seg/regions/squares.py", shown["sclip_seg/regions/squares.py"])
    assert REGIONS.get("squares") is module.Squares
    run_test(shown["tests/regions/test_squares.py"], request)
    refined = "model.refine=[{'type':'RegionVote','regions':{'type':'squares','side':16}}]"
    assert refined in (ROOT / "docs" / "add" / "regions.md").read_text()


def test_every_page_that_adds_something_has_its_test():
    for path in (ROOT / "docs" / "add").glob("*.md"):
        assert any(name.startswith("tests/") for name in files(path.stem)), path


@pytest.mark.parametrize("method", SHOWN)
def test_a_card_says_what_the_code_says(method):
    card = cards.card(method)
    parts = list(cards.parts_of(method))
    for name in cards.modules(method, parts):
        equations = [line for line in sys.modules[name].__doc__.splitlines() if line.startswith("    ")]
        assert all(line in card for line in equations)
    for _, kind, _ in parts:
        assert all(f"| `{name}` |" in card for name in cards.options(kind))
    rows = [line.split("|")[3:-1] for line in card.split("## Published\n")[1].splitlines() if line.startswith("|")]
    cells = [cell.strip(" *") for row in rows for cell in row]
    own = [figure for figure in load() if figure.method == method]
    numbers = sorted(float(cell) for cell in cells if re.fullmatch(r"[\d.]+", cell))
    assert numbers == sorted(figure.miou for figure in own)


def test_a_docstring_becomes_markdown():
    text = "Σ_{l<L} of [0, 1], `a_b`:\n\n    A = x_i * y_j\n\n* one (arXiv 2404.08181)\n* github.com/some/where_else."
    assert cards.prose(text).splitlines() == [
        r"Σ\_{l&lt;L} of \[0, 1\], `a_b`:",
        "",
        "    A = x_i * y_j",
        "",
        "* one ([arXiv 2404.08181](https://arxiv.org/abs/2404.08181))",
        r"* [github.com/some/where\_else](https://github.com/some/where_else).",
    ]


def test_every_method_has_its_row_and_every_row_of_a_measurement_is_a_methods():
    rows = tables.table_of(ROOT / "docs" / "methods" / "index.md", "`configs/`").rows
    assert sorted(row[0].strip("`") for row in rows) == METHODS
    for path in (ROOT / "docs" / "measurements").glob("*.md"):
        for table in tables.tables(path):
            if table.head[0] == "method":
                assert {row[0].strip("*") for row in table.rows} <= {*METHODS}, path


def test_the_page_of_the_installation_names_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = tables.table_of(ROOT / "docs" / "use" / "install.md", "extra").rows
    assert sorted(row[0].strip("`") for row in rows) == sorted(extras)


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="b.html#here">x</a>', None),
        ('<a href="c.html">x</a>', "a.html links to c.html, which is not there"),
        ('<a href="b.html#there">x</a>', "a.html links to b.html#there, and there is no such place"),
        ('<a href="https://example.org/">x</a>', None),
        ('<img src="https://example.org/x.png">', "a.html loads https://example.org/x.png"),
        ('<script src="//example.org/x.js"></script>', "a.html loads //example.org/x.js"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "a.html loads https://example.org/x.css"),
    ],
)
def test_what_is_wrong_with_a_site_is_named(html, fault, tmp_path):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<h2 id="here">x</h2>')
    assert links.faults(tmp_path) == ([fault] if fault else [])
