"""Methods with a second path beside the last blocks: CLIP Surgery and GEM."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ...towers.encoder import DenseCLIP
from .names import Words, merged
from .outcome import CLOSE, Part, gap, thinned
from .text import encoded
from .visual import Seen, last_block, of_tail, visual

NAMED = ("cat", "pottedplant", "tv monitor")  # the classes of GEM's maps, under its one template


def surgery_class_token(seen: Seen) -> Iterator[Part]:
    """The original path's, which only feature surgery reads."""
    trace = with_surgery(seen).trace(seen.image)
    yield "class token", gap(trace.class_features(trace.hidden(-1))[0], seen.group["cls"]), CLOSE


def surgery(seen: Seen) -> Iterator[Part]:
    """Feature surgery of all tokens; the first row of theirs is the class token's."""
    yield "scores", gap(scores(with_surgery(seen), seen), seen.group["surgery"][1:]), CLOSE


def surgery_redundant(seen: Seen) -> Iterator[Part]:
    """Feature surgery with the first query for the redundant one."""
    cosines = scores(seen.backbone, seen)
    ours = cosines[:, 1:] - cosines[:, :1]
    yield "scores, redundant query", gap(ours, seen.group["surgery_redundant"][1:]), CLOSE


def with_surgery(seen: Seen) -> DenseCLIP:
    """The tower with feature surgery."""
    return seen.reference.backbone(**merged(seen.settings, of_tail(feature_surgery=True)))


def scores(backbone: DenseCLIP, seen: Seen) -> Tensor:
    """(1, Q, h, w) -> the rows of every third token, counted from the class token, without it."""
    return backbone.score(seen.image, seen.reference.queries())[0].flatten(1).T[2::3]


def gem_text(seen: Seen) -> Iterator[Part]:
    """Unit text features of the classes."""
    yield "text", gap(text_of(seen), seen.group["text"]), CLOSE


def gem_maps(seen: Seen) -> Iterator[Part]:
    """Maps of the classes at every eighth pixel, each stretched to [0, 1]."""
    features = F.normalize(seen.backbone(seen.image), dim=1)
    maps = torch.einsum("ndhw,qd->nqhw", features, text_of(seen))
    maps = F.interpolate(maps, seen.image.shape[2:], mode="bilinear")[0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    theirs = seen.group["maps"]
    yield "maps", gap(thinned((maps - low) / (high - low), theirs, (1, 2), 8), theirs), CLOSE


def text_of(seen: Seen) -> Tensor:
    """Unit features (Q, D) of the named classes."""
    return encoded(seen.reference, seen.backbone, [f"a photo of a {name}." for name in NAMED])


GEM: Words = {
    "iter": lambda count: of_tail(iterations=count),
    "depth": lambda depth: of_tail(blocks=depth - 1),
    "temp": lambda beta: of_tail(temperature=beta),
    "original_path": lambda: dict(tail=last_block("qk")),
}

visual(
    "surgery",
    dict(type="CLIPSurgery"),
    parts={"cls": surgery_class_token, "surgery": surgery, "surgery_redundant": surgery_redundant},
    positions="surgery",
)
visual("gem", dict(type="GEM"), GEM, {"maps": gem_maps}, {"text": gem_text}, positions="gem")
