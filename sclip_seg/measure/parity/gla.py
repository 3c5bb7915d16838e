"""GLA-CLIP: its attention over given tokens, patch features of windows cut as given, and the segmentor.

    stage_gla      CASE[.OPTIONS].PART   a guide's features and values -> values mixed, before W_o
    visual_gla     [OPTIONS.]INPUT.LAYOUT[.OPTIONS][.PART]   windows of an input at `.boxes`, with a guide's features
    e2e_gla_DATASET   the segmentor by our config, with a stand-in for DINO-B/8 in closed form

`.guide` and `.values` are whole numbers of 1/32; tokens that are `.risky` are left out, since one similarity
that rounding takes over a threshold moves the whole row.
"""

import math
from collections.abc import Iterator
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods.gla_clip import GLACLIP, proxy_similarity
from ...methods.proxyclip import unit_tokens
from .datasets import dataset_named
from .names import Words, merged, options
from .outcome import Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import guided_segmentor, segmentor_checks
from .standins import GivenGuide, in_32nds
from .visual import TOWER, compared, compared_rows, of_tail, sure

ROWS = (263, 523)  # every so many-th row of P is kept
WEIGHTS = 2e-6  # of P
PARTS = ("boxes", "grid", "guide", "attn_rows", "kept", "count", "risky")
GIVEN = dict(type=GivenGuide.__name__)
OWN = of_tail(type="GLACLIP", guide=GIVEN)
OPTIONS: Words = {
    "rho": lambda rho: dict(rho=rho),
    "iters": lambda rounds: dict(rounds=rounds),
    "beta": lambda beta: dict(beta=beta),
    "gamma": lambda gamma: dict(gamma=gamma),
}
WORDS: Words = TOWER | {word: lambda number, *, make=make: of_tail(**make(number)) for word, make in OPTIONS.items()}


@reads("stage_gla")
def attention(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each head that has a guide's features, its own or those of the head that it prolongs."""
    for group in file.grouped((*PARTS, "values", "out", "out.probe")):
        if group.gives("guide"):
            yield group.check("stage", f"gla {group.head}", group.keys, partial(mixed, reference, group))


def mixed(reference: Reference, group: Group) -> Iterator[Part]:
    """The mixed values, and what lies behind them."""
    _, _, words = group.head.partition(".")
    tail = GLACLIP(GIVEN, **options(words, OPTIONS))
    guide, values = (in_32nds(group.given(part), reference.device) for part in ("guide", "values"))
    weights = tail.weights(*tokens(guide), len(guide))
    values = F.interpolate(values, guide.shape[2:], mode="bilinear", align_corners=False)
    rows = weights @ values.flatten(2).transpose(1, 2).flatten(0, 1)
    yield from compared_rows(rows, group, "out", group.get("risky"))
    yield from inside(tail, guide, group)


def tokens(guide: Tensor) -> tuple[Tensor, Tensor]:
    """Unit keys (N, C) of all windows of a guide's features (B, C, H, W), and their numbers."""
    keys = unit_tokens(guide)
    return keys, torch.arange(len(keys), device=keys.device)


def inside(tail: GLACLIP, guide: Tensor, group: Group) -> Iterator[Part]:
    """Rows of P, how many tokens each looks at, and how many made its proxy: as far as a group has them."""
    keys, rows = tokens(guide)
    where = sure(len(keys), group.get("risky"))
    if "attn_rows" in group or "kept" in group:
        weights = tail.weights(keys, rows, len(guide))
    if "attn_rows" in group:
        theirs = group["attn_rows"]
        step = next((step for step in ROWS if math.ceil(len(keys) / step) == len(theirs)), ROWS[0])
        ours, kept = (thinned(whole, theirs, (0,), step) for whole in (weights, where[:, None].expand(weights.shape)))
        yield "attention rows", gap(ours, theirs, kept.numpy()), WEIGHTS
    if "kept" in group:
        yield "wrong numbers kept", differing((weights > 0).sum(1), group["kept"], where.numpy()), 0.0
    if "count" in group:
        _, count = proxy_similarity(keys, rows, tail.rho, tail.rounds)
        yield "wrong numbers of a proxy", differing(count, group["count"], where.numpy()), 0.0


@reads("visual_gla")
def features(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input and layout, whose windows and guide a head with options in front may share."""
    groups = file.grouped((*PARTS, "probe"))
    for group in groups:
        bare = (other for other in groups if group.head.endswith(f".{other.head}"))
        given = next((other for other in (group, *bare) if other.gives("boxes")), None)
        if given is not None:
            compare = partial(through_tower, reference, group, given)
            yield group.check("guided", f"gla {group.head}", group.keys, compare)


def through_tower(reference: Reference, group: Group, given: Group) -> Iterator[Part]:
    """Features of the tokens of all windows, window by window, and what lies behind them."""
    head = group.root.head
    before, _, image = head.rpartition(".")[0].rpartition(".")
    words = [words for words in (before, group.head.removeprefix(head).strip(".")) if words]
    backbone, picture = reference.backbone(**merged(OWN, options(".".join(words), WORDS))), reference.input(image)
    guide = in_32nds(given.given("guide"), reference.device)
    backbone.tail.guide.features = guide
    boxes = given.given("boxes").tolist()
    windows = torch.cat([picture[:, :, top:bottom, left:right] for top, left, bottom, right in boxes])
    joined = backbone.tail.join(backbone.trunk, **backbone.gather(windows, reference.queries()))
    yield from compared(joined.flatten(2).transpose(1, 2).flatten(0, 1), group, risky=group.get("risky"))
    yield from inside(backbone.tail, guide, group)


@reads("e2e_gla_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called)
    model = cache(lambda: guided_segmentor(reference, "gla_clip", dataset))
    yield from segmentor_checks(reference, file, f"gla on {dataset}", model)
