"""The installation: mmseg with and without a compiled mmcv, the pinned set inside the ranges, and the wheel."""

import importlib.util
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import venv
import warnings
import zipfile
from pathlib import Path

import pytest
from mmengine.utils.dl_utils.misc import mmcv_full_available
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from waiting import PATIENCE

from sclip_seg import mmcv_shim
from sclip_seg.config import choices
from sclip_seg.toy.make import make
from sclip_seg.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

# Where mmseg keeps the ops that it takes from mmcv.ops when it is imported.
HOLDERS = [
    ("mmseg.models.losses.focal_loss", "_sigmoid_focal_loss", "sigmoid_focal_loss"),
    ("mmseg.models.decode_heads.cc_head", "CrissCrossAttention", "CrissCrossAttention"),
    ("mmseg.models.decode_heads.psa_head", "PSAMask", "PSAMask"),
    ("mmseg.models.decode_heads.point_head", "point_sample", "point_sample"),
    ("mmseg.models.decode_heads.san_head", "point_sample", "point_sample"),
    ("mmseg.models.utils.point_sample", "point_sample", "point_sample"),
    ("mmseg.utils.mask_classification", "point_sample", "point_sample"),
]


@pytest.fixture(scope="module")
def lite():
    if importlib.util.find_spec("mmcv._ext") is not None:
        pytest.skip("a compiled mmcv is installed")


def call(op):
    op(1, scale=2)


def subclass(op):
    class Derived(op):
        pass


@pytest.mark.usefixtures("lite")
@pytest.mark.parametrize("misuse", [call, subclass])
@pytest.mark.parametrize(("module", "attribute", "name"), HOLDERS)
def test_without_compiled_mmcv(module, attribute, name, misuse):
    """All of mmseg is imported here, as `sclip_seg` leaves it."""
    for package in ("apis", "datasets", "engine", "evaluation", "models", "visualization"):
        importlib.import_module(f"mmseg.{package}")
    assert not {"mmcv.ops", "mmcv._ext"} & {*sys.modules}
    assert not mmcv_full_available()
    with pytest.raises(ImportError, match=rf"mmcv\.ops\.{name} .*pip install mmcv"):
        misuse(getattr(importlib.import_module(module), attribute))


@pytest.mark.usefixtures("lite")
def test_stand_in_leaves_after_a_failed_import(monkeypatch):
    monkeypatch.setattr(mmcv_shim, "MMSEG_PACKAGES", ("mmseg.no_such_package",))
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        mmcv_shim.import_mmseg()
    assert "mmcv.ops" not in sys.modules


def test_with_compiled_mmcv(tmp_path):
    """A made-up `mmcv._ext` and `mmcv.ops`, found before mmcv-lite's own: the shim must not touch them."""
    (tmp_path / "_ext.py").touch()
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "__init__.py").write_text(
        "CrissCrossAttention = DeformConv2d = ModulatedDeformConv2d = PSAMask = SyncBatchNorm = object\n"
        "def point_sample(): return 'compiled'\n"
        "def sigmoid_focal_loss(): return 'compiled'\n"
    )
    (tmp_path / "ops" / "multi_scale_deform_attn.py").write_text("MultiScaleDeformableAttention = object\n")
    code = (
        f"HOLDERS = {HOLDERS}"
        + """
import importlib, os, sys
import mmcv
mmcv.__path__.insert(0, os.environ["COMPILED_MMCV"])
import sclip_seg
import mmseg
from mmengine.utils.dl_utils.misc import mmcv_full_available

assert mmcv_full_available()
assert sys.modules["mmcv.ops"].__file__.startswith(os.environ["COMPILED_MMCV"])
for module, attribute, name in HOLDERS:
    assert getattr(importlib.import_module(module), attribute) is getattr(sys.modules["mmcv.ops"], name)
assert importlib.import_module("mmseg.utils.mask_classification").point_sample() == "compiled"
"""
    )
    surroundings = {**os.environ, "COMPILED_MMCV": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=surroundings)
    assert done.returncode == 0, done.stderr
    assert "MultiScaleDeformableAttention" not in done.stderr


def test_what_python_3_14_dropped_is_bridged(monkeypatch):
    """mmengine and mmcv ask `pkgutil.find_loader` for mmcv's compiled part, and find or miss it as before."""
    names = ("mmcv", "mmcv._ext", "json", "mmcv.no_such_module")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        before = [pkgutil.find_loader(name) is not None for name in names] if sys.version_info < (3, 14) else None
        full = mmcv_full_available()
    monkeypatch.delattr(pkgutil, "find_loader", raising=False)
    mmcv_shim.bridge_the_standard_library()
    found = [pkgutil.find_loader(name) is not None for name in names]
    assert found == (before or [True, full, True, False])
    assert mmcv_full_available() is full


def test_every_place_names_the_same_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first, last = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    pythons = [f"3.{minor}" for minor in range(int(first), int(last))]
    workflow = (ROOT / ".github/workflows/test.yml").read_text()
    assert json.loads(re.search(r"python: (\[.*\])", workflow)[1]) == pythons
    assert f"Python {pythons[0]} to {pythons[-1]}" in (ROOT / "Makefile").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation


def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    return specifier.version


def ranges() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]


def test_every_requirement_is_pinned():
    loose = [str(pin) for pin in pins() if not re.fullmatch(r"==[^*,]+", str(pin.specifier))]
    assert pins()
    assert not loose


@pytest.mark.parametrize("wanted", ranges(), ids=str)
def test_range_admits_the_pins(wanted):
    name = canonicalize_name(wanted.name)
    versions = [version(pin) for pin in pins() if canonicalize_name(pin.name) == name]
    assert versions
    assert all(map(wanted.specifier.contains, versions))


def test_every_range_has_a_lowest_version():
    """`make test-oldest` installs that version; without a bound it would be the first release ever made."""
    assert not [str(wanted) for wanted in ranges() if ">=" not in str(wanted.specifier)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project as a wheel, built from what git has in this tree, without the network."""
    pytest.importorskip("setuptools", minversion="77", reason="a wheel is built by setuptools 77 or later")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "sclip_seg_cli.py"):
        shutil.copy(ROOT / name, tree)
    for name in ("sclip_seg", "configs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (tree / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed(*arguments)` runs sclip-seg of an environment that has the wheel, in a folder that was empty.

    What the project depends on is taken from here; the project itself is not, and no weights can be had but the toy's.
    """
    uv = shutil.which("uv", path=os.pathsep.join([f"{sys.prefix}/uv/bin", os.environ["PATH"]]))
    if uv is None and importlib.util.find_spec("ensurepip") is None:
        pytest.skip("neither uv nor ensurepip is there to install a wheel with")
    place, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=uv is None, symlinks=True)
    program = place / "bin" / "python"
    (packages,) = place.glob("lib/python*/site-packages")
    lines = [path for path in sys.path if path.endswith("-packages")]  # their own .pth files are not read
    (packages / "dependencies.pth").write_text("\n".join(lines) + "\n")
    install = [uv, "pip", "install", "--offline", "--python", program] if uv else [program, "-m", "pip", "install"]
    surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    surroundings |= {"HF_HUB_OFFLINE": "1", "HOME": str(folder.parent)}
    options = dict(cwd=folder, env=surroundings, capture_output=True, text=True, timeout=PATIENCE)
    done = subprocess.run([*install, "--no-deps", wheel], **options)
    assert done.returncode == 0, done.stderr

    def start(*arguments, program="sclip-seg"):
        return subprocess.run([place / "bin" / program, *arguments], **options)

    start.folder = folder
    return start


def listed(text):
    """What `sclip-seg list` names, without what it says of it."""
    return [" ".join(line.split()[:2]) for line in text.splitlines()]


def test_the_wheel_brings_the_command_and_the_configs(installed):
    done = installed("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: sclip-seg WORD")
    names = [f"{axis} {name}" for axis, names in choices(ROOT / "configs").items() for name in names]
    for done in (installed("list"), installed(ROOT / "tools" / "test.py", "--list", program="python")):
        assert (done.returncode, done.stderr) == (0, "")
        assert listed(done.stdout) == names
    done = installed("test", "slip")
    assert (done.returncode, done.stderr.partition(";")[0]) == (2, "error: there is no method 'slip'")
    assert "did you mean sclip or" in done.stderr
    assert not any(installed.folder.iterdir())


def test_the_wheel_finds_its_configs_wherever_it_lies(wheel, tmp_path):
    """As `pip install --target` unpacks it; and no folder `configs` of another package's is taken for ours."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "place")
    (tmp_path / "place" / "configs").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "sclip_seg_cli", "list"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "place")},
        capture_output=True,
        text=True,
    )
    names = [f"{axis} {name}" for axis, names in choices(ROOT / "configs").items() for name in names]
    assert (done.returncode, done.stderr, listed(done.stdout)) == (0, "", names)


def test_the_wheel_describes_itself_without_what_lies_in_the_source_tree(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        description = archive.read(name).decode()
    assert "Description-Content-Type: text/markdown" in description
    assert "Start here (`docs/index.md`)" in description
    assert not re.findall(r"\]\((?!https?://)[^)]*\)", description)


def test_the_wheel_evaluates_in_an_empty_folder(installed):
    make(installed.folder / "data" / "toy", count=3, seed=0)
    done = installed("reproduce", "--methods", "sclip", "--datasets", "toy", "--backbones", "toy", "--limit", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    cell = json.loads((installed.folder / "work_dirs/reproduce/sclip/toy/toy/result.json").read_text())
    assert (cell["images"], cell["images_in_dataset"]) == (2, 3)
    assert cell["signature"].startswith("method:sclip|")
