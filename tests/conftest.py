"""A tiny open_clip tower with random weights, and what is built on it."""

import gc
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, settings
from mmengine.dataset import base_dataset
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

import sclip_seg  # noqa: F401  registers our types
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers import weights
from sclip_seg.towers.encoder import DenseCLIP

# No test depends on how busy the machine is: hypothesis sets no times.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")
torch.set_num_threads(1)  # at these sizes a second thread costs more than it brings


# Hundreds of tests split the same prompts into tokens.
SimpleTokenizer.encode = cache(SimpleTokenizer.encode)

MEMORY, ROOM = "/dev/shm", 2**30  # where files are in memory on Linux; bytes that are to be free there

LONGEST = (
    *("toy/test_toy.py", "evaluate/test_guided_runs.py", "evaluate/test_group.py", "show/test_app_server.py"),
    *("show/test_app_page.py", "test_install.py", "evaluate/test_evaluate.py", "evaluate/test_bad_input.py"),
)


def pytest_configure() -> None:
    """mmengine reads each config by a dozen temporary files: in memory, where there is. `tmp_path` stays on disk."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process has one left when the other has nothing to do."""
    places = {name: place for place, name in enumerate(LONGEST)}
    folder = Path(__file__).parent
    items.sort(key=lambda item: places.get(item.path.relative_to(folder).as_posix(), len(places)))


def pytest_collection_finish() -> None:
    """mmengine collects garbage whenever a dataset is built, through all that was imported: here Python does."""
    base_dataset.gc = SimpleNamespace(collect=lambda: 0)
    gc.collect()
    gc.freeze()


TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY_VOCABULARY = ["sky; cloud", "grass", "dog; puppy; hound", "old brick wall"]


@pytest.fixture(scope="session")
def register(tmp_path_factory):
    """`register(name, config)` makes an open_clip model config known under `name`, and returns the name."""
    folder = tmp_path_factory.mktemp("models")

    def register_model(name: str, config: dict) -> str:
        path = folder / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
        return name

    return register_model


@pytest.fixture(scope="session")
def tiny(register) -> str:
    """Name of the tiny tower: 32 pixels, patches of 8 (a native grid of 4 x 4), 4 blocks of 4 heads, QuickGELU."""
    return register("tiny", TINY)


@pytest.fixture(scope="session")
def build_dense(tiny):
    """`build_dense(tail, **DenseCLIP settings)`: the tiny tower, fp32, stirred random weights."""

    def build(tail: dict | None = None, **others) -> DenseCLIP:
        others = dict(arch=tiny, pretrained=None) | others
        return _stirred(DenseCLIP(tail=tail or dict(type="LastBlock", attention="qk"), **others))

    return build


@pytest.fixture(scope="session")
def build_segmentor(tiny):
    """`build_segmentor(**settings)`: a segmentor over the tiny tower, fp32, no text cache.

    What is not given is csa, four classes of seven queries, one template, windows of 32 pixels 16 apart, and
    pictures at their own size. `backbone` is merged into the tiny one's settings.
    """

    def build(backbone: dict | None = None, **others) -> OpenVocabSegmentor:
        tower = dict(type="DenseCLIP", arch=tiny, pretrained=None, tail=dict(type="LastBlock", attention="csa"))
        others = (
            dict(
                vocabulary=TINY_VOCABULARY,
                templates="plain",
                window=dict(crop=32, stride=16),
                short_side=None,
                precision="fp32",
                text_cache=None,
            )
            | others
        )
        segmentor = OpenVocabSegmentor(backbone=tower | (backbone or {}), **others).eval()
        _stirred(segmentor.backbone)
        return segmentor

    return build


@pytest.fixture(scope="session")
def pictures():
    """`pictures(count, height, width, seed)`: normalised random pictures (count, 3, height, width)."""

    def make(count: int, height: int, width: int, seed: int = 0) -> Tensor:
        return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """`sclip-seg reproduce` (`grids.Stub`) in a working folder with a toy tree of two pictures."""
    from grids import Stub  # loads what few tests need

    from sclip_seg.toy.make import make

    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=2, seed=0)
    return Stub(tmp_path)


@torch.no_grad()
def _stirred(dense: DenseCLIP) -> DenseCLIP:
    """Fresh weights have no biases and nearly even attention, which would hide mistakes in both."""
    if dense.pretrained is not None:
        return dense
    generator = torch.Generator().manual_seed(1)
    for parameter in dense.clip.parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    for module in dense.clip.visual.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.in_proj_weight *= 2
    dense.digest = weights.digest(dense.clip)
    return dense


def pytest_terminal_summary(terminalreporter):
    """What was skipped, by reason, so that a green run does not say more than it tested."""
    reasons: dict[str, set[str]] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
        reasons.setdefault(reason.removeprefix("Skipped: "), set()).add(report.nodeid)
    if reasons:
        terminalreporter.section("skipped, and why")
    for reason, tests in sorted(reasons.items()):
        files = ", ".join(sorted({test.split("::")[0] for test in tests}))
        terminalreporter.line(f"{len(tests)} in {files}: {reason}")
