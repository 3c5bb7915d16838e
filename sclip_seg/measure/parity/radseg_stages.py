"""`stage_radseg`: RADSeg from windows to labels, step by step, on pictures of `recipe.py` at their own size.

sizes, sam_sizes   (h, w, stride, crop, h', w'), and (h, w, h', w') of RADSeg+
strings, text      names, each a class, and their mean texts
INPUT[.VARIANT].PART   `low` has windows of 224/112 and not 336/224; `thr` prunes by another threshold, `between`
                       by the one that it stores
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from ...methods.radseg import aggregated, aggregation_weights
from ...methods.radseg_plus import sam_features, size_for_sam
from ...picture.picture import Picture
from ...picture.scores import StitchedMaps
from ...picture.segmentor import OpenVocabSegmentor
from ...picture.window import rounded_up
from .outcome import CLOSE, Part, differing, gap, thinned
from .radseg import bank, radio_segmentor, strings
from .reading import Check, File, Group, reads
from .reference import Reference

CELLS = 5e-5  # of probabilities on cells and after
USUAL, OTHER = (0.5,), (0.95, 0.996)  # thresholds: of `thr` the folder does not say which, its figures do
WINDOWS = {"low": dict(crop=224, stride=112)}
LARGE = dict(crop=336, stride=224)
SAM_SIDE = 1024
PARTS = ("boxes", "grid", "stitched", "mean_cosine", "scga_rows", "scga", "cells", "class_max", "final", "label")
PARTS += ("threshold", "sam", "sam_size")


@reads("stage_radseg")
def stages(reference: Reference, file: File) -> Iterator[Check]:
    """A case for the sizes, one for the words, and one for each picture and variant."""
    for key, ours in (("sizes", of_windows), ("sam_sizes", of_sam)):
        if key in file:
            yield Check("stage", f"radseg {key}", [key], partial(sizes, file, key, ours))
    words = ("strings", "text", "sizes", "sam_sizes")
    model = cache(lambda settings: pictured(reference, file, dict(settings)))
    for key, compare in (("text", bank), ("strings", strings)):
        if key in file:
            yield Check("stage", "radseg", [key], partial(compare, file, partial(model, tuple(LARGE.items()))))
    for group in file.grouped(PARTS, aside=words):
        name, _, variant = group.head.partition(".")
        window = tuple(WINDOWS.get(variant, LARGE).items())
        seen = cache(lambda name=name, window=window: Seen(model(window), reference.input(name)[0]))
        yield group.check("stage", f"radseg {group.head}", PARTS, partial(inside, seen, group, variant))


def of_windows(height: int, width: int, stride: int, crop: int) -> tuple[int, int]:
    """The size that windows are cut from."""
    return rounded_up((height, width), stride, crop)


def of_sam(height: int, width: int) -> tuple[int, int]:
    """RADSeg+'s."""
    return size_for_sam((height, width), SAM_SIDE, 16)


def sizes(file: File, key: str, ours: Callable[..., tuple[int, int]]) -> Iterator[Part]:
    """Each row: what goes in, and the size that comes out."""
    rows = file[key].tolist()
    yield "wrong sizes", float(sum(ours(*row[:-2]) != tuple(row[-2:]) for row in rows)), 0.0


def pictured(reference: Reference, file: File, window: dict) -> OpenVocabSegmentor:
    """Our config with the file's words, for pictures of any size as they are."""
    words = [[word] for word in file["strings"].tolist()]
    changes = {"model.vocabulary": words, "model.short_side": None, "model.window": window}
    return radio_segmentor(reference, "voc20", "none", **changes)


@dataclass(frozen=True)
class Seen:
    """A normalised picture (3, h, w) on its way."""

    model: OpenVocabSegmentor
    image: Tensor

    @cached_property
    def picture(self) -> Picture:
        """After the trunk."""
        sample = SegDataSample(metainfo=dict(ori_shape=tuple(self.image.shape[1:])))
        (picture,) = self.model.look([self.image], [sample])
        return picture

    @cached_property
    def canvas(self) -> Tensor:
        """The windows' features, joined, (C, rows, columns)."""
        return self.picture.plan.joined(self.picture.gathered.float())

    @cached_property
    def cells(self) -> Tensor:
        """The same, a cell a row, (n, C)."""
        return self.canvas.flatten(1).T

    @cached_property
    def maps(self) -> StitchedMaps:
        """Probabilities before any class leaves."""
        return self.model.score(self.picture)

    def pruned(self, threshold: float) -> StitchedMaps:
        """And after."""
        (presence,) = self.model.score_steps
        presence.threshold = threshold
        return presence.revise(self.maps, self.picture)


def inside(seen: Callable[[], Seen], group: Group, variant: str) -> Iterator[Part]:
    """As far as a group has it."""
    own = seen()
    unit = F.normalize(own.cells, dim=1)
    steps = {
        "stitched": (own.cells, 5),
        "scga": (aggregated(own.cells, own.model.backbone.tail.aggregation), 5),
        "scga_rows": (aggregation_weights(unit, torch.arange(len(unit), device=unit.device), 10.0), 149),
    }
    if "boxes" in group:
        patch = own.model.backbone.patch
        boxes = torch.tensor(own.picture.plan.boxes()) // patch
        yield "wrong boxes", differing(boxes, group["boxes"]), 0.0
    if "grid" in group:
        yield "wrong grid", differing(torch.tensor(own.canvas.shape[1:]), group["grid"]), 0.0
    for key, (ours, step) in steps.items():
        if key in group:
            yield key, gap(thinned(ours, group[key], (0,), step), group[key]), CLOSE
    if "mean_cosine" in group:
        yield "mean cosine", gap(unit.mean(0).square().sum(), group["mean_cosine"]), CLOSE
    if "cells" in group:
        yield "cells", gap(own.maps.lattice, group["cells"]), CELLS
    yield from labelled(own, group, variant)
    if "sam" in group:
        yield from for_sam(own, group)


def labelled(own: Seen, group: Group, variant: str) -> Iterator[Part]:
    """Of enlarged probabilities: the largest of each class, all after some left, and labels."""
    if "class_max" in group:
        yield "largest of each class", gap(own.maps.dense().amax((1, 2)), group["class_max"]), CELLS
    known = OTHER if variant == "thr" else USUAL
    thresholds = [float(group["threshold"])] if "threshold" in group else known
    found = [own.pruned(threshold) for threshold in thresholds]
    if "final" in group:
        kept = [gap(thinned(maps.dense(), group["final"], (1, 2), 16), group["final"]) for maps in found]
        yield "after some left", min(kept), CELLS
        found = [found[int(np.argmin(kept))]]
    if "label" in group:
        wrong = [differing(own.model.label(maps, own.picture), group["label"]) for maps in found]
        yield "wrong labels", min(wrong), 0.0


def for_sam(own: Seen, group: Group) -> Iterator[Part]:
    """The features that RADSeg+ gives to SAM, padded to its square."""
    theirs = group["sam"]
    padded, size = sam_features(own.model.backbone, own.image, SAM_SIDE)
    if "sam_size" in group:
        yield "wrong size for SAM", differing(torch.tensor(size), group["sam_size"]), 0.0
    yield "features for SAM", gap(thinned(padded, theirs, (1, 2), 3), theirs), CLOSE
