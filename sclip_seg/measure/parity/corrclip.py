"""CorrCLIP: features within given regions, maps made of masks, and the vote; the segmentors: `corrclip_segmentors.py`.

    visual_corrclip[2]   CASE.PART; `cases` says "CASE|INPUT|GUIDE|HxW|OFFSET" of each
    stage_corrclip       `vote.CASE.*`, `paint.*` and `panoptic.*`

`merged` and `coarse` are the same where they part the cells alike.
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods.corrclip import Scoped
from ...picture.refine.region_vote import void_of, vote
from ...picture.scores import DenseMaps, Labelling
from ...regions.queries import EoMT, Mask2Former, panoptic_by
from ...regions.regions import painted, painted_by_area
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .standins import CHANNELS, GivenGuide, GivenRegions
from .visual import compared

SIDE = 5e-5  # of the side tokens, whose numbers go to 10
PARTS = ("probe", "regions", "merged", "coarse", "attn_rows", "attn_step", "side", "main", "spatial", "semantic")
STREAM = 23  # every so many-th row of a stream is kept
GIVEN = dict(guide=dict(type=GivenGuide.__name__), regions=dict(type=GivenRegions.__name__))


@reads(r"visual_corrclip(2?)(?:_.+)?")
def features(reference: Reference, file: File, second: str) -> Iterator[Check]:
    """A case for each line of `cases`."""
    told = {line.split("|")[0]: line.split("|")[1:] for line in file["cases"].tolist()}
    groups = {group.head: group for group in file.grouped(PARTS, aside=("cases",))}
    for case, (image, guide, grid, offset) in told.items():
        height, width = map(int, grid.split("x"))
        given = partial(reference.recipe.tiny_guide, guide, CHANNELS, height, width, float(offset))
        group, settings = groups[case], dict(merge=None) if second else {}
        keys = [*group.keys.values(), "cases"]
        name = f"{file.name.removeprefix('visual_')} {case}"
        yield Check("guided", name, keys, partial(within_regions, reference, group, image, given, settings))


def within_regions(
    reference: Reference, group: Group, image: str, given: Callable[[], Tensor], settings: dict
) -> Iterator[Part]:
    """Features of a window in its regions, and what lies inside."""
    backbone = reference.backbone(dict(type="CorrCLIP", **GIVEN, **settings))
    tail, trunk = backbone.tail, backbone.trunk
    tail.guide.features = given()
    trace = backbone.trace(reference.input(image))
    kept = tail.gather(trace, None)
    ids = torch.from_numpy(group["regions"].astype(np.int64)).to(trace.image.device)
    window = kept["states"][0], kept["guide"][0], trace.grid, ids
    yield from compared(tail.scoped(trunk, *window).flatten(1).T, group)
    yield from inside(trunk.joint, tail.look(trunk, *window), group)


def inside(joint: Callable[[Tensor], Tensor], seen: Scoped, group: Group) -> Iterator[Part]:
    """As far as a group has them."""
    for part, ours in (("merged", seen.merged), ("coarse", seen.coarse)):
        if part in group:
            yield f"{part} regions off", unlike(ours, group[part]), 0.0
    if "attn_rows" in group:
        theirs, step = group["attn_rows"], int(group["attn_step"])
        yield "attention rows", gap(seen.attention[::step][: len(theirs)], theirs), CLOSE
    if "side" in group:
        yield "side tokens", gap(seen.side, group["side"]), SIDE
    for part in ("main", "spatial", "semantic"):
        if part in group:
            rows = F.normalize(joint(getattr(seen, part)), dim=1)
            yield part, gap(thinned(rows, group[part], (0,), STREAM), group[part]), CLOSE


def unlike(ours: Tensor, theirs: np.ndarray) -> float:
    """How many more pairs of numbers meet in two maps than there are numbers: 0 where they part the cells alike."""
    ours = ours.cpu().numpy()
    pairs = len(np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)[0])
    return float(2 * pairs - len(np.unique(ours)) - len(np.unique(theirs)))


@reads("stage_corrclip")
def stages(reference: Reference, file: File) -> Iterator[Check]:
    """The vote, the painting of masks, and panoptic maps."""
    parts = ("logits", "query_idx", "scale_thd", "regions", "before", "after")
    for group in file.grouped(parts):
        if "after" in group:
            yield group.check("stage", f"corrclip {group.head}", parts, partial(voted, group))
    for head, compare in (("paint", paint), ("panoptic", panoptic)):
        keys = [key for key in file.keys if key.startswith(f"{head}.")]
        if keys:
            yield Check("stage", f"corrclip {head}", keys, partial(compare, file))


def voted(group: Group) -> Iterator[Part]:
    """Labels before and after."""
    scale, threshold = group["scale_thd"].tolist()
    owner = torch.from_numpy(group["query_idx"].astype(np.int64))
    labelling = Labelling(owner.bincount(), scale, 0, threshold)
    labels = labelling.labels(DenseMaps(torch.from_numpy(group["logits"].astype(np.float32)) / 65536))
    yield "wrong labels before", differing(labels, group["before"]), 0.0
    ids = torch.from_numpy(group["regions"].astype(np.int64))
    yield "wrong labels after", differing(vote(labels, ids, void_of(ids, "smallest")), group["after"]), 0.0


def paint(file: File) -> Iterator[Part]:
    """Masks in ascending area, and in ascending score."""
    size = tuple(file["paint.size"].tolist())
    masks = torch.from_numpy(np.unpackbits(file["paint.masks"], axis=-1)[..., : size[1]].astype(bool))
    scores = torch.from_numpy(file["paint.scores"])
    for part, ours in (
        ("sam2", painted_by_area(masks, size)),
        ("entityseg", painted(masks, scores, size)),
    ):
        yield f"wrong pixels of {part}", differing(ours.ids + 1, file[f"paint.{part}"]), 0.0


def outputs_of(masks: torch.Tensor, classes: torch.Tensor) -> SimpleNamespace:
    """A network's, of one picture."""
    return SimpleNamespace(masks_queries_logits=masks[None], class_queries_logits=classes[None])


def panoptic(file: File) -> Iterator[Part]:
    """EoMT's map and Mask2Former's, by transformers' rules."""
    masks, classes = (
        torch.from_numpy(file[f"panoptic.{part}_logits"].astype(np.float32)) / 64 for part in ("mask", "class")
    )
    size, limits = tuple(file["panoptic.size"].tolist()), dict(mask=0.5, overlap=0.8)
    outputs, turned = outputs_of(masks, classes), size[0] > size[1]
    # What EoMT's rule cuts off its square is for pictures that are wide.
    lying = outputs_of(masks.mT, classes) if turned else outputs
    stuff = file["panoptic.stuff"].tolist()
    fused = panoptic_by(EoMT, lying, (min(size), max(size)), threshold=0.8, stuff=stuff, **limits).ids
    yield "wrong pixels of eomt", differing(fused.T if turned else fused, file["panoptic.eomt"]), 0.0
    whole = panoptic_by(Mask2Former, outputs, size, threshold=0.5, **limits)
    yield "wrong pixels of mask2former", differing(whole.ids + 1, file["panoptic.mask2former"]), 0.0
