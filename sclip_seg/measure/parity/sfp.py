"""SFP: its features, who is an outlier and why, and the repair of a map.

visual_sfp   [DETECTOR.][heads8.]INPUT[.PART]; `few.`, `none.`: with the factor in `.factor`
stage_sfp    `map` (C, h, w), and `repaired` in the `cells` (row, column); `untouched`: in none
"""

from collections.abc import Iterator
from functools import partial

import torch

from ...methods.scclip import repair
from ...methods.sfp import class_and_own
from .names import Words, nothing
from .outcome import CLOSE, Part, gap
from .reading import Check, File, reads
from .reference import Reference
from .scclip import ROWS, differing_outliers
from .visual import Seen, of_tail, visual

MEANS = 1e-6  # of at most eight numbers


def who(seen: Seen) -> Iterator[Part]:
    """The outliers."""
    yield from differing_outliers(seen.backbone.tail.anomalous(seen.trace), seen.group)


def by_class(seen: Seen) -> Iterator[Part]:
    """How the class token looks at each patch, times the factor."""
    found, _ = class_and_own(seen.trace.qkv(-2))
    yield "class to patch", gap(seen.backbone.tail.factor * found[0], seen.group["class_to_patch"]), CLOSE


def by_itself(seen: Seen) -> Iterator[Part]:
    """How each patch looks at itself."""
    _, found = class_and_own(seen.trace.qkv(-2))
    yield "patch to itself", gap(found[0], seen.group["self"]), CLOSE


WORDS: Words = {
    "L2": lambda: of_tail(detector="norm"),
    "LOF": lambda: of_tail(detector="released"),
    "few": nothing,
    "none": nothing,
}
PARTS = {"outliers": who, "class_to_patch": by_class, "self": by_itself, **ROWS}

visual("sfp", dict(type="SFP"), WORDS, PARTS, given={"factor": lambda array: of_tail(factor=float(array))})


@reads("stage_sfp")
def stage(reference: Reference, file: File) -> Iterator[Check]:
    """The repair of some cells, and of none."""
    for key, cells in (("repaired", ["cells"]), ("untouched", [])):
        if {"map", key, *cells} <= {*file.keys}:
            yield Check("stage", f"sfp {key}", ["map", key, *cells], partial(mended, reference, file, key, cells))


def mended(reference: Reference, file: File, key: str, cells: list[str]) -> Iterator[Part]:
    """The map, repaired in the cells of those keys."""
    whole = torch.from_numpy(file["map"]).to(reference.device)
    outlier = torch.zeros(whole.shape[1:], dtype=torch.bool, device=whole.device)
    for cell in cells:
        rows, columns = torch.from_numpy(file[cell]).long().T
        outlier[rows, columns] = True
    found = repair(whole.flatten(1).T[None], outlier.flatten()[None], tuple(outlier.shape), "zero")
    yield "", gap(found[0].T.unflatten(1, outlier.shape), file[key]), MEANS
