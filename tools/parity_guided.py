"""Parity of the methods with a second model, on its stand-ins in the reference. `tools/parity.py` runs it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from parity_parts import CLOSE, SCORES, Part, gap
from torch import Tensor

from sclip_seg.methods.proxyclip import values_on
from sclip_seg.methods.trident import masked_affinity
from sclip_seg.picture.window import windows
from sclip_seg.registry import GUIDES
from sclip_seg.towers.guide import Guide, LastAttention

if TYPE_CHECKING:
    from parity import Reference

# κ, whether negative thresholds are mended, and whether a quarter of SAM's stand-in points the other way.
TRIDENT = {
    "default": (1.2, False, False),
    "voc20": (0.0, False, False),
    "cityscapes_like": (3.0, True, False),
    "ade": (1.2, True, True),
    "default_neg": (1.2, False, True),
}


@GUIDES.register_module(force=True)
class GivenGuide(Guide):
    """A guide whose features are given."""

    arch, pretrained, digest = "given", None, ""
    features: Tensor

    def forward(self, image: Tensor) -> Tensor:
        return self.features


@torch.no_grad()
def guided_cases(reference: "Reference") -> Iterator[Part]:
    """(case, difference, tolerance)."""
    yield from proxyclip(reference)
    yield from trident(reference)


def proxyclip(reference: "Reference") -> Iterator[Part]:
    """Proxy attention on guides of 28 x 28 and 21 x 21."""
    backbone = reference.backbone(dict(type="ProxyCLIP", guide=dict(type="GivenGuide")))
    expected = reference.load("visual_proxyclip")
    for name in (key for key in expected if not key.endswith(".probe")):
        size, guide = name.split("+")
        side = 28 if guide == "dino8i" else 21
        backbone.tail.guide.features = reference.recipe.tiny_guide(guide, 48, side, side)
        features = backbone(reference.recipe.tiny_input(size))[0].flatten(1).T
        yield from compared(f"proxyclip {name}", features, expected, name)


def trident(reference: "Reference") -> Iterator[Part]:
    """Windows spliced and aggregated by a stand-in for SAM's last block."""
    guide = dict(type="GivenGuide")
    backbone = reference.backbone(dict(type="Trident", guide=guide, affinity=guide))
    expected, recipe, tail = reference.load("visual_trident"), reference.recipe, backbone.tail
    image, plan = recipe.tiny_input("wide2"), windows((464, 608), 336, 224, backbone.patch)
    # The reference's README calls them trident{i}{j}; these are the names its figures were made with.
    features = torch.cat([recipe.tiny_guide(f"tridentf{i}{j}", 48, 21, 21) for i in range(2) for j in range(3)])
    trace = backbone.trace(torch.cat(list(plan.cut([image[0]], batch=6))))
    canvas = tail.splice(trace, features, values_on(trace, features.shape[2:]), plan)
    for name, (tail.cos_fac, tail.mend_negative, two_sided) in TRIDENT.items():
        attention, values = recipe.tiny_sam(two_sided)
        last = LastAttention(values.shape[2:4], values[0].flatten(1, 2), attention[0].__getitem__)
        read = trace.joint(tail.aggregate(canvas, last)[None])[0]
        yield from compared(f"trident {name}", read, expected, name)
        if f"{name}.affinity_rows" in expected:
            rows = masked_affinity(last, tail.cos_fac, tail.mend_negative)[::37]
            yield f"trident {name} affinity", gap(rows, expected[f"{name}.affinity_rows"]), CLOSE


def compared(case: str, features: Tensor, expected: dict, name: str) -> Iterator[Part]:
    """Every third unit feature of (P, D), and all on the two fixed directions."""
    directions = torch.randn((64, 2), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    unit = F.normalize(features, dim=1)
    yield case, gap(unit[::3], expected[name]), CLOSE
    yield f"{case} probes", gap(unit.double().cpu() @ directions, expected[f"{name}.probe"]), SCORES
