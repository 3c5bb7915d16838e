"""RF-CLIP: features, who is filtered and what is mixed; and the segmentor.

visual_rfclip        [OPTIONS.]INPUT[.PART], the filter's `channels` and `sigma` for all; of `.cls` the length counts
e2e_rfclip_DATASET   by our config, with the filter of visual_rfclip; of `PHOTO.adjusted0` the first window
"""

from collections.abc import Iterator
from functools import cache, cached_property, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...picture.stages.texts import leaders, turned
from ...towers.block import run_block
from ...towers.trace import Trace
from .cass import own_clusters
from .datasets import dataset_named
from .names import UnknownName, Words, merged, options
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import MAPS, Looked, Segmented, bank_checks, photo_checks, segmentor
from .visual import TOWER, compared, of_tail

COSINES, WEIGHTS = 37, 49  # every so many-th row is kept
PARTS = ("probe", "cls", "flagged", "cosines", "attn_rows", "attn_rows_guide")
FILTER = ("channels", "sigma")
WORDS: Words = TOWER | {
    "nofilter": lambda: of_tail(sigma=None),
    "sigma": lambda sigma: of_tail(sigma=sigma),
    "refocus": lambda threshold: of_tail(refocus=threshold),
}


def filter_of(file: File) -> dict:
    """The filter's settings as a file gives them. Raises UnknownName where it does not."""
    if any(key not in file for key in FILTER):
        raise UnknownName("nothing says what is filtered")
    return dict(channels=file["channels"].tolist(), sigma=float(file["sigma"]))


@reads("visual_rfclip")
def features(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input."""
    own = of_tail(type="RFCLIP", **filter_of(file))
    yield Check("features", "rfclip", [*FILTER], lambda: iter(()))
    for group in file.grouped(PARTS, aside=FILTER):
        yield group.check("features", f"rfclip {group.head}", group.keys, partial(inside, reference, group, own))


def inside(reference: Reference, group: Group, own: dict) -> Iterator[Part]:
    """The features, and what lies inside."""
    words, _, name = group.head.rpartition(".")
    backbone = reference.backbone(**merged(own, options(words, WORDS)))
    tail, trace = backbone.tail, backbone.trace(reference.input(name))
    yield from compared(tail(trace, None)[0].flatten(1).T, group)
    if "cls" in group:
        yield "class token", gap(trace.joint(trace.hidden(-1)[:, 0])[0], group["cls"]), CLOSE
    if "flagged" in group:
        yield "wrong tokens flagged", differing(flagged(trace, backbone.edit), group["flagged"]), 0.0
    if "cosines" in group:
        guide = sum(trace.hidden(block) for block in range(trace.depth))[0, 1:]
        unit = F.normalize(guide, dim=1)
        yield "cosines", gap(thinned(unit @ unit.T, group["cosines"], (0,), COSINES), group["cosines"]), CLOSE
    for part, (_, (weights,)) in zip(("attn_rows", "attn_rows_guide"), tail.readings(trace), strict=True):
        if part in group:
            yield part, gap(thinned(weights, group[part], (1,), WEIGHTS), group[part]), CLOSE


def flagged(trace: Trace, edit) -> Tensor:
    """Which patches stand out after each block, before the filter, (L, P)."""
    at = trace.grid, trace.prefix
    outputs = (run_block(block, trace.before(index), *at) for index, block in enumerate(trace.blocks))
    return torch.cat([edit.flagged(output[:, trace.prefix :]) for output in outputs])


class Photo(Looked):
    """A photo, and the queries of its first window."""

    @cached_property
    def segmented(self) -> Segmented:
        """By the config."""
        maps = self.model.refine(self.model.score(self.picture), self.picture)
        classes = self.model.labelling.probabilities(maps)
        return Segmented(self.model.label(maps, self.picture), maps, classes, classes, CLOSE)

    @cached_property
    def present(self) -> Tensor:
        """s (1 or N, Q)."""
        return self.model.stages[0].presence(self.picture)

    @cached_property
    def queries(self) -> Tensor:
        """The queries as the first window turns them, (Q, D)."""
        adjuster, text = self.model.stages[0], self.model.text.features
        features = F.normalize(self.picture.patches[:1].float(), dim=1).flatten(2).transpose(1, 2)
        chosen = leaders(adjuster.clusters(text), self.present[:1])
        return text.index_copy(0, chosen[0], turned(features, text[chosen], adjuster.alpha)[0])


def present(seen, group: Group) -> Iterator[Part]:
    """s of the picture."""
    yield "picture's scores", gap(seen().present[0], group["global"]), CLOSE


def adjusted(seen, group: Group) -> Iterator[Part]:
    """The first window's queries."""
    yield "adjusted", gap(seen().queries, group["adjusted0"]), CLOSE


def after(compare, seen, group: Group) -> Iterator[Part]:
    """What any segmentor is held against."""
    yield from compare(lambda: seen().segmented, group)


PHOTO = {key: partial(after, compare) for key, compare in MAPS.items()} | {"global": present, "adjusted0": adjusted}


@reads("e2e_rfclip_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset, with PAMR or without."""
    name = called.removesuffix("_pamr")
    dataset = dataset_named(name)
    changes = {f"model.backbone.tail.{key}": value for key, value in filter_beside(reference).items()}
    if called != name:
        changes["model.refine"] = [dict(type="PAMR", steps=10, dilations=(8, 16))]
    title, model = f"rfclip on {called}", cache(lambda: segmentor(reference, "rfclip", dataset, changes))
    yield from bank_checks(file, title, model)
    if "clusters" in file:
        yield Check("end to end", title, ["clusters"], partial(own_clusters, model, file))
    if "strings" in file:
        yield Check("end to end", title, ["strings"], partial(strings, model, file))
    aside = ("clusters", "strings")
    yield from photo_checks(reference, file, title, lambda photo: Photo(model(), photo), PHOTO, aside)


def filter_beside(reference: Reference) -> dict:
    """The filter that the folder's features have. Raises UnknownName."""
    path = reference.folder / "visual_rfclip.npz"
    if not path.is_file():
        raise UnknownName("nothing says what is filtered: visual_rfclip.npz is not beside it")
    file = File(path)
    try:
        return filter_of(file)
    finally:
        file.close()


def strings(model, file: File) -> Iterator[Part]:
    """What the queries ask for."""
    yield "wrong queries", differing(np.array(model().vocabulary.queries), file["strings"]), 0.0
