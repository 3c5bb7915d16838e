"""Methods that are another attention in the last block: vanilla CLIP, MaskCLIP, SCLIP, ClearCLIP, NACLIP, ITACLIP."""

from collections.abc import Iterator

import torch.nn.functional as F

from ...registry import ATTENTION
from .names import Words, nothing
from .outcome import CLOSE, Part, gap, thinned
from .visual import Seen, last_block, of_tail, visual


def attention_rows(seen: Seen) -> Iterator[Part]:
    """Every 49th row of the attention, head by head."""
    maps = seen.backbone.tail.last_attention(seen.trace, seen.reference.queries()).weights[0]
    theirs = seen.group["attn_rows"]
    yield "attention rows", gap(thinned(maps, theirs, (1,), 49), theirs), CLOSE


def class_token(seen: Seen) -> Iterator[Part]:
    """The class token after the last block, unit."""
    trace = seen.trace
    token = trace.class_features(seen.backbone.tail.tokens(trace))
    theirs = seen.group["cls"]
    yield "class token", gap(token.view(theirs.shape), theirs), CLOSE


def pooled(seen: Seen) -> Iterator[Part]:
    """open_clip's own image feature, unit."""
    feature = F.normalize(seen.backbone.clip.encode_image(seen.image), dim=-1)
    yield "pooled", gap(feature, seen.group["pooled"]), CLOSE


REDUCTIONS: Words = {
    "reduced": lambda: of_tail(residual=False, mlp=False),
    "full": lambda: of_tail(residual=True, mlp=True),
}
BLOCK: Words = {
    **REDUCTIONS,
    **{name: lambda name=name: of_tail(attention=dict(type=name)) for name in ATTENTION.module_dict},
    "vanilla": lambda: of_tail(attention=dict(type="qk")),
    **dict.fromkeys(("sigma", "std"), lambda spread: of_tail(attention=dict(sigma=spread))),
}
PARTS = {"attn_rows": attention_rows, "cls": class_token, "pooled": pooled}

visual("vanilla", last_block("qk"), BLOCK | {"openclip": nothing}, PARTS)
visual("maskclip", dict(type="MaskCLIP"), REDUCTIONS, PARTS)
visual("sclip", last_block("csa"), BLOCK, PARTS)
visual("clearclip", last_block("qq", False, False), BLOCK, PARTS)
visual("naclip", last_block("naclip", False, False), BLOCK, PARTS)
visual("itaclip", dict(type="ITACLIP", engineering=None), parts=PARTS)
