"""CLIPtrase: its features, the self-correlation W and the class token."""

from collections.abc import Iterator

from torch import Tensor

from ...methods.cliptrase import self_correlation
from .outcome import CLOSE, Part, gap, thinned
from .visual import Seen, visual


def correlation(seen: Seen) -> Tensor:
    """W (T, T)."""
    return self_correlation(seen.trace.qkv(-2))[0]


def every_fifth(seen: Seen) -> Iterator[Part]:
    """Every fifth row and column of W."""
    theirs = seen.group["W"]
    yield "W", gap(thinned(correlation(seen), theirs, (0, 1), 5), theirs), CLOSE


def class_row(seen: Seen) -> Iterator[Part]:
    """The class token's row of W."""
    yield "W of the class token", gap(correlation(seen)[0], seen.group["W_clsrow"]), CLOSE


def class_token(seen: Seen) -> Iterator[Part]:
    """Its unit feature."""
    token = seen.trace.class_features(seen.backbone.tail.tokens(seen.trace))[0]
    yield "class token", gap(token, seen.group["cls"]), CLOSE


visual("cliptrase", dict(type="CLIPtrase"), parts={"W": every_fifth, "W_clsrow": class_row, "cls": class_token})
