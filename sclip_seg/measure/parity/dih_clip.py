"""DIH-CLIP: `visual_dih` has `heads2.top4.INPUT[.PART]`; entropies and heads of the middle block and of both passes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...methods.dih_clip import entropies, selected, trained
from .names import Words
from .outcome import Part, differing, relative
from .scclip import ROWS
from .visual import Seen, of_tail, visual

ENTROPIES = 1e-5  # relative


def all_entropies(seen: Seen) -> Tensor:
    """(3, heads)"""
    trace, tail = seen.trace, seen.backbone.tail
    _, similar, passes = tail.passes(trace)
    maps = [tail.maps(tail.projections(trace, patches), similar) for patches, _ in passes]
    mid, _, _ = tail.layers(trace.depth)
    return torch.cat([entropies(one) for one in (trained(trace.qkv(mid)), *maps)])


def compared_entropies(seen: Seen) -> Iterator[Part]:
    """Of all heads."""
    yield "entropies, relative", relative(all_entropies(seen), seen.group["entropy"]), ENTROPIES


def selected_heads(seen: Seen) -> Iterator[Part]:
    """Ascending, from 0."""
    theirs = seen.group["heads"]
    chosen = selected(all_entropies(seen), seen.backbone.tail.heads)
    wanted = torch.zeros(chosen.shape, dtype=torch.bool).scatter(1, torch.from_numpy(theirs).long(), True)
    yield "heads that differ", differing(chosen, wanted.numpy()), 0.0


WORDS: Words = {"top": lambda count: of_tail(heads=count)}

visual("dih", dict(type="DIHCLIP"), WORDS, {"entropy": compared_entropies, "heads": selected_heads, **ROWS})
