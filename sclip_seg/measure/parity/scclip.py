"""SC-CLIP: its features, the outlier factors, and who is one."""

from collections.abc import Iterator

from torch import Tensor

from ...methods.scclip import outlier_scores, outliers
from .names import Words
from .outcome import PROBES, Part, gap
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
    found = outliers(last_patches(seen), own.detector, own.neighbours)[0].nonzero().flatten().tolist()
    yield "outliers that differ", float(len({*found} ^ {*seen.group["outliers"].tolist()})), 0.0


# Blocks count from 0 in the names, and a range ends before its second number.
WORDS: Words = {
    "res_cls": lambda weight: of_tail(class_weight=weight),
    "rho": lambda weight: of_tail(class_weight=weight),
    "pre": lambda block: of_tail(mid=block + 1),
    "post": lambda block: of_tail(post=block + 1),
    "multi": lambda first, end: of_tail(fused=tuple(range(first + 1, end + 1))),
}

visual("scclip", dict(type="SCCLIP"), WORDS, {"lof": factors, "outliers": who})
