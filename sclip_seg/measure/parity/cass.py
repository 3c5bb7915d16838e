"""CASS: features by its joint graphs, what its text side makes of given arrays, and the segmentor.

    visual_cass        [OPTIONS.]INPUT[.PART], the guide's keys in closed form by the name in `.guide`
    stage_cass         clusters of `text` at every distance, `clusters.H`; `features` (P, D), `cls`, and the constants
                       -> `adjusted`, the numbers of what `changed`, `scores`
    e2e_cass_DATASET   by our config, the keys of each window by its size and the letter in `PHOTO.guide`

`mmseg_text` is our bank of the first end-to-end dataset; `guide_input.*`, with the slips of the official code, is held
against nothing.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...methods.cass import assigned, patches_alone, ranged, spectral_distance, spectrum
from ...picture.stages.texts import TextAdjuster, clusters, leaders, turned
from ...registry import GUIDES
from ...towers.guide import Guide
from .datasets import dataset_named
from .names import UnknownName, Words, merged, options
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import MAPS, Segmented, bank_checks, photo_checks, segmented, segmentor
from .visual import TOWER, compared, of_tail

UNIT = 8  # pixels of a patch of the guide that the keys stand in for
ROWS = 97  # every so many-th row of S is kept
SCORES, SPECTRA, DISTANCES = 5e-4, 1e-5, 2e-5  # of S; of eigenvalues, in parts of the largest; of w
PARTS = ("probe", "guide", "cls", "pairs", "w", "scores_rows", "spectra")


@GUIDES.register_module(force=True)
class ClosedKeys(Guide):
    """Keys of squares in closed form: `tiny_guide` of a name with a letter and the number of cells a side."""

    arch, pretrained, digest = "given", None, ""
    draw: Callable[[str, int], Tensor]
    letter: str = ""

    def keys(self, image: Tensor) -> Tensor:
        """(N, C, n, n), the same for all windows."""
        return self.draw(self.letter, min(image.shape[2:]) // UNIT).expand(len(image), -1, -1, -1)


def drawing(reference: Reference, heads: int) -> Callable[[str, int], Tensor]:
    """The keys (1, C, n, n) of a letter; channels of a head grow smaller, each head at a pace of its own."""
    width = reference.recipe.VW

    def draw(letter: str, cells: int) -> Tensor:
        keys = reference.recipe.tiny_guide(f"cass{letter}{cells}", width, cells, cells)
        head, place = (
            torch.arange(width).div(width // heads, rounding_mode="floor"),
            torch.arange(width) % (width // heads),
        )
        pace = torch.where(head % 2 == 1, place // 4, place // (1 + head)).clamp(max=10)
        return keys * torch.exp2(-pace.float()).view(-1, 1, 1).to(keys)

    return draw


OWN = of_tail(type="CASS", guide=dict(type=ClosedKeys.__name__))
WORDS: Words = TOWER | {
    "nostretch": lambda: of_tail(stretch=False),
    "sequential": lambda: of_tail(stretch=False, pairing="identity"),
}


@reads("visual_cass")
def features(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input."""
    for group in file.grouped(PARTS):
        yield group.check("features", f"cass {group.head}", group.keys, partial(inside, reference, group))


def guide_of(group: Group) -> str:
    """The letter in the name of a group's guide, or in that of the same tower and input without further options."""
    words, _, name = group.head.rpartition(".")
    tower = [word for word in words.split(".") if word.startswith("heads")]
    key = ".".join([*tower, name, "guide"])
    if key not in group.file:
        raise UnknownName(f"nothing says what guide {group.head} has")
    return re.fullmatch(r"cass(.+?)\d+", str(group.file[key]))[1]


def inside(reference: Reference, group: Group) -> Iterator[Part]:
    """The features, and what lies inside."""
    words, _, name = group.head.rpartition(".")
    backbone = reference.backbone(**merged(OWN, options(words, WORDS)))
    tail, trace = backbone.tail, backbone.trace(reference.input(name))
    t = patches_alone(trace)
    tail.guide.draw, tail.guide.letter = drawing(reference, t.heads), guide_of(group)
    yield from compared(tail(trace, None)[0].flatten(1).T, group)
    if "cls" in group:
        yield "class token", gap(tail.summary(trace)[0], group["cls"]), CLOSE
    keys, guide = t.k[0], tail.guide_keys(trace, t.heads)[0]
    own = ranged(guide, keys)
    if "w" in group:
        yield "distances", gap(spectral_distance(own, keys), group["w"]), DISTANCES
    if "pairs" in group:
        yield "pairs that differ", differing(assigned(spectral_distance(own, keys))[1], group["pairs"]), 0.0
    if "scores_rows" in group:
        theirs = group["scores_rows"]
        yield "scores", gap(thinned(tail.scores(keys, guide), theirs, (1,), ROWS), theirs), SCORES
    if "spectra" in group:
        theirs = group["spectra"]
        yield "spectra", gap(torch.stack([spectrum(own), spectrum(keys)]), theirs), SPECTRA * float(theirs.max())


@reads("stage_cass")
def text_side(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each distance, and one for the adjuster."""
    for key in file.keys:
        if key.startswith("clusters."):
            distance = float(key.removeprefix("clusters."))
            yield Check("stage", f"cass {key}", [key], partial(same_clusters, file, "text", key, distance))
    given = ("text", "features", "cls", "alpha", "h", "gamma", "adjusted", "changed", "scores")
    if all(key in file for key in given):
        yield Check("stage", "cass text side", [*given], partial(adjusted, file))
    if "mmseg_text" in file:
        yield Check("stage", "cass", ["mmseg_text"], partial(bank_of_voc, reference, file))
    aside = [key for key in file.keys if key.startswith("guide_input.")]
    yield Check("stage", "cass", aside, lambda: iter(()))


def same_clusters(file: File, text: str, key: str, distance: float) -> Iterator[Part]:
    """The cluster of each query."""
    yield "wrong clusters", differing(clusters(torch.from_numpy(file[text]), "ward", distance), file[key]), 0.0


def adjusted(file: File) -> Iterator[Part]:
    """The queries turned, which they are, and the blended scores."""
    text, features, cls = (torch.from_numpy(file[key]) for key in ("text", "features", "cls"))
    alpha, distance, gamma = (float(file[key]) for key in ("alpha", "h", "gamma"))
    chosen = leaders(clusters(text, "ward", distance), cls @ text.T)
    queries = text.clone()
    queries[chosen[0]] = turned(features[None], text[chosen], alpha)[0]
    changed = chosen[0].sort().values
    yield "wrong queries turned", differing(changed, file["changed"]), 0.0
    yield "adjusted", gap(queries, file["adjusted"]), CLOSE
    gained = TextAdjuster(alpha, distance).gain(features[None], text[chosen])[0]
    scores = (features @ text.T).index_add(1, chosen[0], gained.T)
    yield "scores", gap((1 - gamma) * scores + gamma * cls @ text.T, file["scores"]), CLOSE


def bank_of_voc(reference: Reference, file: File) -> Iterator[Part]:
    """The text bank of VOC with a background."""
    yield "text bank", gap(closed(reference, "voc21").text.features, file["mmseg_text"]), CLOSE


def closed(reference: Reference, dataset: str):
    """The segmentor of our config, its guide in closed form."""
    guide = dict(type=ClosedKeys.__name__, _delete_=True)
    model = segmentor(reference, "cass", dataset, {"model.backbone.tail.guide": guide})
    model.backbone.tail.guide.draw = drawing(reference, reference.recipe.VH)
    return model


@reads("e2e_cass_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called)
    title, model = f"cass on {dataset}", cache(lambda: closed(reference, dataset))
    yield from bank_checks(file, title, model)
    if "clusters" in file:
        yield Check("end to end", title, ["clusters"], partial(own_clusters, model, file))
    letters = {key.removesuffix(".guide"): str(file[key]) for key in file.keys if key.endswith(".guide")}
    aside = ("clusters", *(f"{head}.guide" for head in letters))

    def see(photo: Path) -> Segmented:
        named = [head for head in letters if photo.stem == head or photo.stem.startswith(f"{head}_")]
        model().backbone.tail.guide.letter = letters[max(named, key=len)]
        return segmented(model(), photo, lambda classes: classes)

    yield from photo_checks(reference, file, title, see, MAPS, aside)
    yield Check("end to end", title, [f"{head}.guide" for head in letters], lambda: iter(()))


def own_clusters(model: Callable, file: File) -> Iterator[Part]:
    """By our config's distance."""
    adjuster, text = model().stages[0], model().text.features
    yield "wrong clusters", differing(adjuster.clusters(text), in_order(file["clusters"])), 0.0


def in_order(clusters: np.ndarray) -> np.ndarray:
    """Clusters of any numbers, numbered from 0 as they first appear."""
    _, first, own = np.unique(clusters, return_index=True, return_inverse=True)
    return first.argsort().argsort()[own]
