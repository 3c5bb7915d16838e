"""A made folder of reference outputs: a recipe of its own, and arrays that a test puts there."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from sclip_seg.measure.parity.compare import examine
from sclip_seg.measure.parity.outcome import Outcome, Unknown
from sclip_seg.measure.parity.reference import Reference, opened
from sclip_seg.measure.parity.visual import probes

RECIPE = '''
"""A tower of 32 in 12 blocks, and inputs of other names and sizes than anybody's."""

import zlib

import open_clip
import torch
import torch.nn.functional as F

VW, VH, VL, PATCH, RES, EMB = 32, 2, 12, 16, 64, 16
TW, TH, TL, CTX, VOCAB = 16, 1, 1, 77, 49408
SIZES = dict(small=(64, 64), tall=(96, 64), odd=(70, 90), wide2=(112, 160))


def drawn(name, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def tiny_state_dict():
    vision = dict(image_size=RES, layers=VL, width=VW, head_width=VW // VH, patch_size=PATCH)
    text = dict(context_length=CTX, vocab_size=VOCAB, width=TW, heads=TH, layers=TL)
    state = open_clip.CLIP(EMB, vision, text, quick_gelu=True).state_dict()
    return {name: 0.25 * drawn(name, *tensor.shape) for name, tensor in state.items() if name != "attn_mask"}


def tiny_input(name):
    return drawn(name, 1, 3, *SIZES[name])


def tiny_queries():
    return F.normalize(drawn("queries", 4, EMB), dim=1)


def tiny_guide(name, channels, height, width, offset=0.5):
    return drawn(name, 1, channels, height, width) + offset * drawn(name + "/mean", 1, channels, 1, 1)


def _gauss(name, shape, scale):
    return scale * drawn(name, *shape).double()


def tiny_sam(two_sided=False, heads=2, h=5, w=6, d=4):
    values = drawn(f"values{two_sided}", 1, heads, h, w, d)
    return drawn("attention", 1, heads, h * w, h * w).softmax(-1), values


def tiny_photo():
    return drawn("photo", 40, 60, 3).mul(40).add(128).clamp(0, 255).to(torch.uint8)
'''


def make(folder: Path) -> Path:
    """A folder with a recipe."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.py").write_text(RECIPE)
    return folder


@contextmanager
def reference_of(folder: Path):
    """The folder's reference on the CPU, without gradients."""
    with opened(folder, torch.device("cpu")) as reference, torch.no_grad():
        yield reference


def features(reference: Reference, name: str, **settings: object) -> torch.Tensor:
    """Unit features (P, D) of an input by our own code."""
    found = reference.backbone(**settings)(reference.input(name), reference.queries())[0].flatten(1).T
    return torch.nn.functional.normalize(found, dim=1)


def read(folder: Path) -> tuple[dict[str, Outcome], list[str]]:
    """Cases by name, and what is unknown: files and keys."""
    found = list(examine(folder, torch.device("cpu")))
    unknown = [f"{one.file} {one.key}".strip() for one in found if isinstance(one, Unknown)]
    return {one.name: one for one in found if isinstance(one, Outcome)}, unknown


def off(folder: Path) -> list[str]:
    """The cases that do not fit."""
    return [name for name, one in read(folder)[0].items() if not one.fits]


def stored(key: str, unit: torch.Tensor) -> dict[str, np.ndarray]:
    """The two arrays of a case."""
    return {key: unit[::3].numpy(), f"{key}.probe": probes(unit).numpy()}
