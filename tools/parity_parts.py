"""Parity of what lies inside a method: class tokens, labels, maps, regions. `tools/parity.py` runs it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch.utils._pytree import tree_map

from sclip_seg.methods.cliptrase import self_correlation
from sclip_seg.methods.resclip import feedback, patch_labels
from sclip_seg.methods.scclip import outlier_scores, outliers
from sclip_seg.words.text import encode_prompts

if TYPE_CHECKING:
    from parity import Reference

CLOSE, SCORES = 2e-5, 5e-5
Part = tuple[str, float, float]


@dataclass(frozen=True)
class Outcome:
    """The largest difference of a case, and what it may be."""

    kind: str
    name: str
    gap: float
    tolerance: float

    @property
    def fits(self) -> bool:
        """Whether it is within; nan is not."""
        return self.gap <= self.tolerance


class Placed:
    """The functions of `recipe.py`, the tensors that they make put on a device."""

    def __init__(self, recipe: ModuleType, device: torch.device) -> None:
        self.recipe, self.device = recipe, device

    def __getattr__(self, name: str) -> Callable:
        function = getattr(self.recipe, name)
        return lambda *sizes: tree_map(self._place, function(*sizes))

    def _place(self, made: object) -> object:
        return made.to(self.device) if isinstance(made, torch.Tensor) else made


@torch.no_grad()
def part_cases(reference: "Reference") -> Iterator[Part]:
    """(case, difference, tolerance)."""
    for parts in (surgery, gem, resclip, scclip, cliptrase):
        yield from parts(reference)


def surgery(reference: "Reference") -> Iterator[Part]:
    """The class token; feature surgery of all tokens, without and with a redundant query."""
    expected, image = reference.load("visual_surgery"), reference.recipe.tiny_input("square")
    weighted = reference.backbone(dict(type="CLIPSurgery", feature_surgery=True), "surgery")
    plain = reference.backbone(dict(type="CLIPSurgery"), "surgery")
    trace = weighted.trace(image)
    yield "surgery class token", gap(trace.class_features(trace.hidden(-1))[0], expected["square.cls"]), CLOSE
    ours = every_third_token(weighted.score(image, reference.queries()))
    yield "surgery scores", gap(ours, expected["square.surgery"][1:]), CLOSE
    cosines = every_third_token(plain.score(image, reference.queries()))
    redundant = cosines[:, 1:] - cosines[:, :1]
    yield "surgery scores, redundant query", gap(redundant, expected["square.surgery_redundant"][1:]), CLOSE


def gem(reference: "Reference") -> Iterator[Part]:
    """The text of three classes under its one template, and their maps stretched to [0, 1]."""
    expected, backbone = reference.load("visual_gem_iter1"), reference.backbone(dict(type="GEM"), "gem")
    prompts = [f"a photo of a {name}." for name in ("cat", "pottedplant", "tv monitor")]
    tokens = open_clip.get_tokenizer("parity")(prompts)
    tokens = tokens[:, : int(tokens.argmax(1).max()) + 1].to(reference.device)
    text = F.normalize(encode_prompts(backbone.clip, tokens), dim=-1)
    yield "gem text", gap(text, expected["text"]), CLOSE
    features = F.normalize(backbone(reference.recipe.tiny_input("square")), dim=1)
    maps = F.interpolate(torch.einsum("ndhw,qd->nqhw", features, text), (224, 224), mode="bilinear")[0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    yield "gem maps", gap(((maps - low) / (high - low))[:, ::8, ::8], expected["square.maps"]), CLOSE


def resclip(reference: "Reference") -> Iterator[Part]:
    """The first pass's probabilities, the patches' labels and what is fed back."""
    for name, scale, threshold in (("voc21", 2.2, 0.5), ("context60", 1.8, 0.3)):
        tail = dict(type="ResCLIP", rcs=0.3, sfr=0.7, sfr_scale=scale, threshold=threshold)
        backbone, expected = reference.backbone(tail), reference.load(f"visual_resclip_{name}")
        for size in ("square", "wide"):
            trace = backbone.trace(reference.recipe.tiny_input(size))
            t, own = trace.qkv(-1), backbone.tail
            first = own.close(trace, t, own.residual_attention(t, own.cross(trace)))
            (probability,) = own.probabilities(trace, trace.patches(first), reference.queries())
            labels = patch_labels(probability, threshold, backbone.patch, trace.grid)
            case = f"resclip {name} {size}"
            found = probability[:, ::16, ::16]
            yield f"{case}: probabilities", gap(found, expected[f"{size}.seg_prob"]), CLOSE
            wrong = (labels.view(trace.grid).cpu().numpy() != expected[f"{size}.patch_labels"]).sum()
            yield f"{case}: wrong patch labels", float(wrong), 0.0
            yield f"{case}: feedback", gap(feedback(labels, trace.grid)[::37], expected[f"{size}.S_rows"]), CLOSE


def scclip(reference: "Reference") -> Iterator[Part]:
    """The outlier factors, and who is one."""
    expected, backbone = reference.load("visual_scclip"), reference.backbone(dict(type="SCCLIP"))
    patches = backbone.trace(reference.recipe.tiny_input("square")).before(-1)[:, 1:]
    yield "scclip outlier factors", gap(outlier_scores(patches, 30)[0], expected["square.lof"]), SCORES
    found = outliers(patches, "released", 30)[0].nonzero().flatten().tolist()
    yield "scclip outliers that differ", float(len({*found} ^ {*expected["square.outliers"].tolist()})), 0.0


def cliptrase(reference: "Reference") -> Iterator[Part]:
    """The self-correlation W, and the class token."""
    expected, backbone = reference.load("visual_cliptrase"), reference.backbone(dict(type="CLIPtrase"))
    for size in ("square", "wide"):
        trace = backbone.trace(reference.recipe.tiny_input(size))
        correlation = self_correlation(trace.qkv(-2))[0]
        yield f"cliptrase {size} W", gap(correlation[::5, ::5], expected[f"{size}.W"]), CLOSE
        yield f"cliptrase {size} W of the class token", gap(correlation[0], expected[f"{size}.W_clsrow"]), CLOSE
        token = trace.class_features(backbone.tail.tokens(trace))[0]
        yield f"cliptrase {size} class token", gap(token, expected[f"{size}.cls"]), CLOSE


def every_third_token(scores: torch.Tensor) -> torch.Tensor:
    """(1, Q, h, w) -> the rows that the reference keeps after its first, which is the class token's."""
    return scores[0].flatten(1).T[2::3]


def gap(ours: torch.Tensor | np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference."""
    ours = ours.cpu().numpy() if isinstance(ours, torch.Tensor) else ours
    if ours.shape != theirs.shape:
        raise SystemExit(f"shapes differ: ours {ours.shape}, theirs {theirs.shape}")
    return float(np.abs(ours.astype(np.float64) - theirs).max())
