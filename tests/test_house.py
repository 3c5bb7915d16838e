"""The rules of the house that a machine can hold: layers, sizes, names, docstrings."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from trees import BENCHMARKS

from sclip_seg.config import choices, load_config
from sclip_seg.registry import ATTENTION, REGIONS, STAGES, STEPS, TAILS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sclip_seg"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if not path.endswith("__init__.py")]
METHODS = [path for path in MODULES if path.startswith("methods/")]
# The shelves, and those that each may take from; `""` is what lies beside them, which every shelf may use.
SHELVES = {
    "": set(),
    "words": {""},
    "towers": {"", "words"},
    "regions": {"", "towers"},
    "picture": {"", "words", "towers", "regions"},
    "methods": {"", "words", "towers", "regions", "picture"},
    "data": {"", "words"},
    "evaluate": {"", "words", "towers", "regions", "picture", "data"},
    "toy": {"", "words", "towers", "picture", "data", "evaluate"},
    "show": {"", "words", "towers", "picture", "data", "evaluate", "toy"},
    "label": {"", "words", "towers", "picture", "data", "evaluate", "show"},
    "students": {"", "towers", "data", "evaluate", "toy", "label"},
    "measure": {"", "words", "towers", "regions", "picture", "methods", "data", "evaluate", "toy", "show", "label"},
}
# Packages from outside, shelf by shelf; those not listed may use any that pyproject.toml names.
OUTSIDE = {
    "": {"mmengine", "mmseg", "numpy", "cv2", "PIL", "matplotlib", "argcomplete", "tqdm"},  # matplotlib for its font
    "words": {"torch", "open_clip", "timm", "safetensors"},
    "towers": {"torch", "open_clip", "timm", "safetensors", "huggingface_hub"},
    "regions": {"torch", "numpy", "cv2", "safetensors", "transformers", "skimage", "faiss"},
    "methods": {"torch", "numpy", "cv2", "scipy", "sklearn", "torchvision"},
}
# The lowest know no library at all, and what is computed for one picture knows torch and numpy alone.
PLAIN = {
    **dict.fromkeys(
        ("version", "quiet", "errors", "settings", "options", "handed_in", "words.vocabulary"), frozenset()
    ),
    **dict.fromkeys(
        ("towers.attention", "towers.block", "towers.trace", "towers.positions", "towers.kept"), frozenset({"torch"})
    ),
    **dict.fromkeys(
        ("towers.tail", "picture.window", "picture.scores", "picture.refine.pamr", "picture.refine.rounds"),
        frozenset({"torch"}),
    ),
}
STANDARD = sys.stdlib_module_names


def module_name(path):
    return path.removesuffix(".py").replace("/", ".")


def shelf_of(module):
    first = module.split(".")[0]
    return first if first in SHELVES else ""


def imports(path):
    """What a file of the package imports, anywhere in it: modules of the package, and packages from outside.

    What only annotations name, under `if TYPE_CHECKING`, is not imported.
    """
    inner, outer = set(), set()
    parents = ["sclip_seg", *path.split("/")[:-1]]
    tree = ast.parse((PACKAGE / path).read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) + 1 - node.level] if node.level else []
            stem = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import weights` names modules, `from .weights import find` does not.
            is_package = (ROOT / stem.replace(".", "/")).is_dir() and stem.startswith("sclip_seg")
            names = [f"{stem}.{alias.name}" for alias in node.names] if is_package else [stem]
        else:
            continue
        for name in names:
            (inner if name.startswith("sclip_seg.") else outer).add(name.removeprefix("sclip_seg."))
    return inner, {name.split(".")[0] for name in outer}


def code_strings(path):
    """The string constants of a file, docstrings aside."""
    tree = ast.parse((PACKAGE / path).read_text())
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, owners)]
    bare = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]


@pytest.mark.parametrize("path", MODULES)
def test_arrows_run_one_way(path):
    module = module_name(path)
    shelf = shelf_of(module)
    inner, outer = imports(path)
    above = {name for name in inner if shelf_of(name) not in SHELVES[shelf] | {shelf}}
    assert not above, f"{path} imports {above}"
    allowed = PLAIN.get(module, OUTSIDE.get(shelf))
    if allowed is not None:
        assert outer <= allowed | STANDARD, f"{path} imports {outer - allowed - STANDARD}"


def test_the_shelves_are_an_order_and_hold_everything():
    order = list(SHELVES)
    assert all(order.index(below) < order.index(shelf) for shelf, below_all in SHELVES.items() for below in below_all)
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == {*SHELVES} - {
        ""
    }
    assert {module_name(path) for path in MODULES} >= PLAIN.keys()


def test_tests_lie_on_the_shelf_of_what_they_test():
    shelves = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    assert shelves == {*SHELVES} - {""}


def test_no_test_imports_from_another():
    """What several need lies in a module beside what it helps with."""
    files = [*(ROOT / "tests").rglob("*.py")]
    tests = {path.stem for path in files if path.name.startswith("test_")}
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(path.name, name) for name in names if name.split(".")[-1] in tests}
    assert len(tests) > 50
    assert not found


def test_the_test_of_arrows_reads_imports():
    assert imports("methods/maskclip.py")[0] >= {"towers.attention", "towers.tail", "registry", "towers.trace"}
    assert {"towers.frozen", "towers.tail"} <= imports("towers/encoder.py")[0]
    inner, outer = imports("towers/frozen.py")
    assert {"towers.weights", "towers.checkpoint"} <= inner
    assert {"open_clip", "torch"} <= outer
    assert "mmseg" in imports("picture/segmentor.py")[1]


def test_no_file_over_300_lines():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True)
    paths = [ROOT / name for name in listed.stdout.decode().split()] or list(PACKAGE.rglob("*.py"))
    lengths = {path.relative_to(ROOT): path.read_text().count("\n") for path in paths if path.is_file()}
    assert len(lengths) >= len(FILES)
    assert not {path: length for path, length in lengths.items() if length > 300}


@pytest.mark.parametrize("path", MODULES)
def test_no_device_path_or_benchmark_in_the_code(path):
    text = (PACKAGE / path).read_text()
    strings = code_strings(path)
    assert not [string for string in strings if "/home" in string or "/root" in string or "/tmp" in string]
    if path.startswith("measure/"):  # devices and benchmarks are what it measures
        return
    # They say which device computed, and which may; the last holds kernels of one.
    if path not in ("evaluate/result.py", "evaluate/grid/slots.py", "picture/refine/fused.py"):
        assert not [string for string in strings if re.search(r"\bcuda\b", string)]
        assert not re.search(r"(?<!is_)\bcuda\b", "\n".join(line.split("#")[0] for line in text.splitlines()))
    # The second holds the papers' tables; in the others one is the name of a format of files.
    if path not in ("data/datasets.py", "evaluate/grid/tables.py", "label/command.py", "label/formats.py"):
        known = {*BENCHMARKS, "voc", "coco", "cityscapes", "ade"}
        assert not [string for string in strings if string.lower() in known]


def name_of(part):
    return part if isinstance(part, str) else part.type


@cache
def modules_of_configs():
    """Where the parts are written that the methods' configs name."""
    used = set()
    for method in choices(ROOT / "configs")["method"]:
        model = load_config(ROOT / "configs" / f"{method}.py").model
        tail = model.backbone.tail
        used.add(TAILS.get(tail.type).__module__)
        if "attention" in tail:
            used.add(ATTENTION.get(tail.attention.type).__module__)
        used |= {STAGES.get(name_of(stage)).__module__ for stage in model.get("stages", [])}
        used |= {STEPS.get(name_of(step)).__module__ for step in model.get("refine", [])}
    return used


@pytest.mark.parametrize("path", METHODS)
def test_method_names_its_paper_and_has_a_config(path):
    module = importlib.import_module(f"sclip_seg.{module_name(path)}")
    assert re.search(r"arXiv \d{4}\.\d{4,5}", module.__doc__)
    assert "Official code" in module.__doc__
    assert module.__name__ in modules_of_configs()


def test_every_method_is_imported_by_its_package():
    imported = {name.removeprefix("methods.") for name in imports("methods/__init__.py")[0]}
    assert imported == {Path(path).stem for path in METHODS}


@pytest.mark.parametrize("path", MODULES)
def test_public_names_have_docstrings(path):
    if path == "show/app/page.py":
        pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")
    module = importlib.import_module(f"sclip_seg.{module_name(path)}")
    assert module.__doc__ or module_name(path) == "version"
    bare = []
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing) and not thing.__doc__:
            bare.append(name)
        if inspect.isclass(thing):
            bare += [] if "__doc__" in vars(thing) and thing.__doc__ else [name]
            bare += [f"{name}.{method}" for method in undocumented(thing)]
    assert not bare


def undocumented(kind):
    """Public methods without a docstring that override nothing."""
    for name, thing in vars(kind).items():
        function = getattr(thing, "__func__", thing)
        if name.startswith("_") or not inspect.isfunction(function) or function.__doc__:
            continue
        if not any(hasattr(ancestor, name) for ancestor in kind.__mro__[1:]):
            yield name


def test_the_docstring_test_sees_through_overrides():
    class Bare(torch.nn.Module):
        def forward(self):
            return None

        def extra(self):
            return None

    assert list(undocumented(Bare)) == ["extra"]


@pytest.mark.parametrize("shelf", [ATTENTION, TAILS, REGIONS, STAGES, STEPS], ids=lambda shelf: shelf.name)
def test_shelf_holds_documented_things(shelf):
    assert shelf.module_dict
    assert not [name for name, thing in shelf.module_dict.items() if not thing.__doc__]


def test_the_drawing_of_the_way_names_what_there_is():
    """docs/way.svg: shelves, files, and classes and methods by name."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (ROOT / "docs" / "way.svg").read_text())
    assert {text.removesuffix("/") for text in texts if text.endswith("/")} - {"refine"} <= SHELVES.keys()
    files = {word for text in texts for word in re.findall(r"\b\w+\.py\b", text)}
    assert files <= {Path(path).name for path in MODULES}
    assert files
    code = "".join((PACKAGE / path).read_text() for path in MODULES)
    names = {word for text in texts for word in re.findall(r"\b[A-Z]+[a-z]+[A-Z]\w*|\b[A-Z]\w+\.[a-z]+\b", text)}
    for kind, _, member in (name.partition(".") for name in names - {"mIoU"}):
        assert f"class {kind}" in code, kind
        assert not member or f"def {member}(" in code, f"{kind}.{member}"
    assert {"LoadPicture", "Windows.cut", "Tail.read"} <= names
