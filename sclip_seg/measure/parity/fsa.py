"""FSA on ProxyCLIP: features of `[OPTIONS.]INPUT+GUIDE`, what lies inside of them, and the segmentor.

    visual_fsa        as ProxyCLIP's, with the seven queries or, `q30`, thirty
    e2e_fsa_DATASET   by our config, with a stand-in for DINO-B/8 in closed form

Tokens that are `.risky` are left out: rounding decides what of their row is kept. End to end `.risky` only counts them,
and is held against nothing.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
import torch.nn.functional as F

from ...methods.fsa import feedback, isolated, kept, likeness, predictions
from ...methods.proxyclip import ProxyCLIP
from ...words.text import TextBank
from .datasets import dataset_named
from .names import Words, merged, options
from .outcome import Part, differing, gap, thinned
from .proxyclip import guided_input
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import (
    Inside,
    Seen,
    bank_checks,
    best,
    guided_segmentor,
    labels,
    largest_probability,
    photo_checks,
    score_maps,
    segmented,
)
from .standins import GivenGuide
from .visual import TOWER, compared, of_tail, sure

GUIDE = dict(type=GivenGuide.__name__)
OWN = of_tail(type="FSA", guide=GUIDE)
WORDS: Words = TOWER | {
    "lam": lambda sharpness: of_tail(sharpness=sharpness),
    "beta": lambda beta: of_tail(beta=beta),
    "gamma": lambda gamma: of_tail(gamma=gamma),
    "beta1gamma": lambda gamma: of_tail(beta=1, gamma=gamma),  # as the folder writes the two
    "proxy": lambda: dict(tail=dict(type="ProxyCLIP", guide=GUIDE)),
    "q": lambda count: dict(queries=count),
}
PARTS = ("probe", "first", "uniform", "similarity", "kept", "new_rows", "risky")
ROWS = 97  # every so many-th row of S and W is kept
COSINES, SIMILARITY, WEIGHTS = 1e-4, 1e-5, 2e-4  # of scaled cosines, S and W
LOOSE = {"logits": 2e-4, "maxprob": 1e-3}  # end to end, where one flipped entry moves a row


@reads("visual_fsa")
def features(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input and guide."""
    for group in file.grouped(PARTS):
        yield group.check("guided", f"fsa {group.head}", group.keys, partial(second_pass, reference, group))


def second_pass(reference: Reference, group: Group) -> Iterator[Part]:
    """Features of the patches of the guide's grid, which the probes count, and what led to them."""
    prefix, _, inputs = group.head.rpartition(".")
    settings = merged(OWN, options(prefix, WORDS))
    queries = bank(reference, settings.pop("queries", None))
    backbone = reference.backbone(**settings)
    image = guided_input(reference, inputs, backbone.tail.guide, group)
    yield from compared(backbone(image, queries)[0].flatten(1).T, group, risky=group.get("risky"))
    if not isinstance(backbone.tail, ProxyCLIP):
        base = backbone.tail.base(backbone.trace(image))
        yield from inside(*predictions(base, queries.features), backbone.tail.sharpness, group)


def bank(reference: Reference, count: int | None) -> TextBank:
    """The recipe's queries, or as many as are drawn for this method."""
    if count is None:
        return reference.queries()
    drawn = reference.recipe._gauss("fsa/queries", (count, reference.recipe.EMB), 1.0)
    features = F.normalize(drawn, dim=-1).float()
    return TextBank(features, torch.arange(count), count).to(features)


def inside(first: torch.Tensor, uniform: torch.Tensor, sharpness: float, group: Group) -> Iterator[Part]:
    """The two passes' scaled cosines, and rows of S and W: as far as a group has them."""
    (p,), where = isolated(first, uniform), sure(first.shape[1], group.get("risky"))
    similar = likeness(p)
    if "first" in group:
        yield "first pass", gap(thinned(first[0], group["first"], (0,), 3), group["first"]), COSINES
    if "uniform" in group:
        yield "uniform pass", gap(uniform[0, 0], group["uniform"]), COSINES
    if "similarity" in group:
        theirs = group["similarity"]
        yield "likeness", gap(thinned(similar, theirs, (0,), ROWS), theirs), SIMILARITY
    if "kept" in group:
        yield "wrong numbers kept", differing(kept(similar).sum(1), group["kept"], where.numpy()), 0.0
    if "new_rows" in group:
        weights, theirs = feedback(similar, sharpness), group["new_rows"]
        ours, rows = (thinned(all_of, theirs, (0,), ROWS) for all_of in (weights, where[:, None].expand(p.shape[0], 1)))
        yield "fed back", gap(ours, theirs, rows.numpy()), WEIGHTS


def loosened(key: str, compare: Inside, seen: Seen, group: Group) -> Iterator[Part]:
    """The same differences, with the tolerances of this method."""
    for told, difference, tolerance in compare(seen, group):
        yield told, difference, LOOSE.get(key, tolerance)


def nothing(seen: Seen, group: Group) -> Iterator[Part]:
    """Of what is held against nothing."""
    return iter(())


COMPARED: dict[str, Callable[..., Iterator[Part]]] = {
    "logits": score_maps,
    "maxprob": largest_probability,
    "label": labels,
    "best": best,
}
MAPS = {key: partial(loosened, key, compare) for key, compare in COMPARED.items()} | {"risky": nothing}


@reads("e2e_fsa_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called)
    title, model = f"fsa on {dataset}", cache(lambda: guided_segmentor(reference, "fsa", dataset))
    yield from bank_checks(file, title, model)
    yield from photo_checks(reference, file, title, lambda photo: segmented(model(), photo, lambda c: c), MAPS)
