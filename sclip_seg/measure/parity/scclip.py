"""SC-CLIP: its features, the outlier factors, and who is one; rows of M and of T for those built on it."""

from collections.abc import Iterator

from torch import Tensor

from ...methods.scclip import outlier_scores, outliers
from .names import Words
from .outcome import CLOSE, PROBES, Part, gap, thinned
from .reading import Group
from .visual import Seen, of_tail, visual


def last_patches(seen: Seen) -> Tensor:
    """What enters the last block, without the class token: (1, P, C)."""
    return seen.trace.before(-1)[:, 1:]


def factors(seen: Seen) -> Iterator[Part]:
    """The released outlier factors."""
    found = outlier_scores(last_patches(seen), seen.backbone.tail.neighbours)[0]
    yield "outlier factors", gap(found, seen.group["lof"]), PROBES


def who(seen: Seen) -> Iterator[Part]:
    """The anomalous patches."""
    own = seen.backbone.tail
    yield from differing_outliers(outliers(last_patches(seen), own.detector, own.neighbours), seen.group)


def differing_outliers(ours: Tensor, group: Group) -> Iterator[Part]:
    """Those of one window, (1, P), beside the flat indices of a group."""
    found = ours[0].nonzero().flatten().tolist()
    yield "outliers that differ", float(len({*found} ^ {*group["outliers"].tolist()})), 0.0


def middle_rows(seen: Seen) -> Iterator[Part]:
    """Of M."""
    similar, _ = seen.backbone.tail.middle(seen.trace)
    yield "rows of M", _rows(seen, similar, "mid_rows"), CLOSE


def after_rows(seen: Seen) -> Iterator[Part]:
    """Of T."""
    yield "rows of T", _rows(seen, seen.backbone.tail.after(seen.trace), "post_rows"), CLOSE


def _rows(seen: Seen, similar: Tensor, part: str) -> float:
    """Of every 49th row of (1, P, P) without the entries below β."""
    kept, theirs = similar[0] * (similar[0] >= seen.backbone.tail.beta), seen.group[part]
    return gap(thinned(kept, theirs, (0,), 49), theirs)


ROWS = {"mid_rows": middle_rows, "post_rows": after_rows}
# Blocks count from 0 in the names, and a range ends before its second number.
WORDS: Words = {
    "res_cls": lambda weight: of_tail(class_weight=weight),
    "rho": lambda weight: of_tail(class_weight=weight),
    "pre": lambda block: of_tail(mid=block + 1),
    "post": lambda block: of_tail(post=block + 1),
    "multi": lambda first, end: of_tail(fused=tuple(range(first + 1, end + 1))),
}

visual("scclip", dict(type="SCCLIP"), WORDS, {"lof": factors, "outliers": who})
