"""`e2e_corrclip_DATASET` and `e2e_corrclip2_DATASET`: CorrCLIP's segmentors by our configs, on the folder's photos.

Stand-ins: a linear guide for DINO, a given one for RADIO, the photo's `.regions`, and of the second a bank in closed
form. Pairs within rounding of the mean of S may fall on either side of it and move a cell's row, so that 98 of 100
stored scores and probabilities are held.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...picture.segmentor import OpenVocabSegmentor
from ...regions.bank import RegionBank, support
from ...regions.regions import nearest
from .datasets import dataset_named
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import Looked, Segmented, bank_checks, photo_checks, photo_of, segmentor
from .standins import CHANNELS, GivenGuide, GivenRegions, LinearGuide

HELD = 0.98  # of the stored scores
PROBABILITY, SUPPORT = 5e-5, 2e-6
# The second's whole-picture guide, by dataset where a folder has another than voc21's: name and grid.
RADIO = {"voc21": ("corr_radio", 19, 25), "context60": ("corr_radio2", 24, 32), "cityscapes": ("corr_radio3", 19, 25)}
THRESHOLDS = {"voc21": 0.05, "context60": 0.03}  # lowered there, since the tiny tower is never surer
BANK = (20, 20)  # the grid whose cells are the bank's regions


@reads("e2e_corrclip_(.+)")
def first(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """Of v1."""
    dataset = dataset_named(called)
    yield from checks(reference, file, f"corrclip on {dataset}", cache(lambda: v1(reference, dataset)), MAPS)


@reads("e2e_corrclip2_(.+)")
def second(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """Of v2."""
    dataset = dataset_named(called)
    model = cache(lambda: v2(reference, dataset, file))
    aside = ("aux_text",) if "aux_text" in file else ()
    yield from checks(reference, file, f"corrclip_v2 on {dataset}", model, MAPS | SUPPORTED, aside)
    if aside:
        yield Check("end to end", f"corrclip_v2 on {dataset}", ["aux_text"], lambda: iter(()))  # given


def checks(
    reference: Reference, file: File, title: str, model: Callable[[], OpenVocabSegmentor], maps: dict, aside: tuple = ()
) -> Iterator[Check]:
    """The text bank, and every photo with its regions."""
    yield from bank_checks(file, title, model)
    heads = [key.removesuffix(".regions") for key in file.keys if key.endswith(".regions")]
    of_photo = {photo_of(reference, Group(file, head, {"label": f"{head}.label"})): head for head in heads}

    def see(photo: Path) -> Voted:
        return Voted(model(), photo, file[f"{of_photo[photo]}.regions"])

    yield from photo_checks(reference, file, title, see, maps, aside)


def v1(reference: Reference, dataset: str) -> OpenVocabSegmentor:
    """With the stand-in for DINO-B/8."""
    options = standing_in(LinearGuide)
    model = segmentor(reference, "corrclip", dataset, options)
    model.backbone.tail.guide.draw(reference.recipe, "corr")
    return model


def v2(reference: Reference, dataset: str, file: File) -> OpenVocabSegmentor:
    """With the stand-in for RADIO and the bank; an auxiliary one where the file has its texts."""
    options = standing_in(GivenGuide) | {"model.backbone.tail.auxiliary": None, "model.backbone.tail.bank": None}
    if dataset in THRESHOLDS:
        options["model.background_threshold"] = THRESHOLDS[dataset]
    model, recipe = segmentor(reference, "corrclip_v2", dataset, options), reference.recipe
    tail, auxiliary = model.backbone.tail, "aux_text" in file
    name, *grid = RADIO.get(dataset, RADIO["voc21"])
    tail.guide.features = recipe.tiny_guide(name, CHANNELS, *grid)
    keys = F.normalize(recipe.tiny_guide("corr_bank", CHANNELS, *BANK, offset=0.35)[0].flatten(1).T, dim=1)
    drawn = {
        part: F.normalize(recipe._gauss(f"corr/bank.{part}", (400, recipe.EMB), 1.0), dim=1) for part in ("main", "aux")
    }
    values = {
        part: torch.from_numpy(rows.cpu().numpy().astype(np.float16)) for part, rows in drawn.items()
    }  # as numpy rounds
    tail.bank = RegionBank("given", keys, values["main"], values["aux"] if auxiliary else None, {})
    if auxiliary:
        model.text = replace(model.text, second=torch.from_numpy(file["aux_text"]).to(reference.device))
    return model


def standing_in(guide: type) -> dict:
    """Options that put a guide and given regions in the places of the config's."""
    given = {"guide": guide.__name__, "regions": GivenRegions.__name__}
    return {f"model.backbone.tail.{part}": dict(type=kind, _delete_=True) for part, kind in given.items()}


class Voted:
    """A photo on its way: scores, labels before the vote and after."""

    def __init__(self, model: OpenVocabSegmentor, photo: Path, regions: np.ndarray) -> None:
        self.model = model
        model.backbone.tail.regions.ids = torch.from_numpy(regions.astype(np.int32))
        self.picture = Looked(model, photo).picture
        self.maps = model.score(self.picture)
        self.before = model.labelling.labels(self.maps)
        self.labels = model.label(self.maps, self.picture)
        self.classes = model.labelling.probabilities(self.maps)

    @property
    def sure(self) -> np.ndarray:
        """Where rounding cannot turn the best class."""
        return Segmented(self.labels, self.maps, self.classes, self.classes, CLOSE).sure

    @cached_property
    def queries(self) -> Tensor:
        """q_r of the regions, in the order of their numbers."""
        tail = self.model.backbone.tail
        ids = nearest(self.picture.regions(tail.regions).ids, tuple(self.picture.fitted.shape[1:]))
        numbers, place = ids.unique(return_inverse=True)
        return tail.queries(self.picture, place, len(numbers))

    def supported(self, values: Tensor, text: Tensor) -> Tensor:
        """The support of one store."""
        tail = self.model.backbone.tail
        return support(tail.bank.nearest(self.queries, tail.neighbours), values, text)


def held(ours: Tensor, theirs: np.ndarray) -> float:
    """The difference that 98 of 100 entries do not exceed. Raises ValueError for other shapes."""
    gap(ours, theirs)
    return float(np.quantile(np.abs(ours.cpu().double().numpy() - theirs), HELD))


def logits(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Every 32nd pixel."""
    ours = thinned(seen().maps.dense(), group["logits"], (1, 2), 32)
    yield "score maps", held(ours, group["logits"]), CLOSE


def probability(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """The largest, every eighth pixel."""
    ours = thinned(seen().classes.amax(0), group["maxprob"], (0, 1), 8)
    yield "largest probability", held(ours, group["maxprob"]), PROBABILITY


def before(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Labels before the vote, where sure."""
    yield "wrong labels before the vote", differing(seen().before, group["label_before_vote"], seen().sure), 0.0


def after(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Labels, everywhere."""
    yield "wrong labels", differing(seen().labels, group["label"]), 0.0


def given(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """The regions are the reference's own."""
    return iter(())


def queries(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Means of the guide's features."""
    yield "queries of regions", gap(seen().queries, group["region_queries"]), CLOSE


def neighbours(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Which, whatever their order."""
    tail, theirs = seen().model.backbone.tail, group["neighbours"]
    ours = tail.bank.nearest(seen().queries, tail.neighbours)
    yield "wrong neighbours", differing(ours.sort(1).values, np.sort(theirs, axis=1)), 0.0


def main_support(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Of the values of the model's own tower."""
    voted = seen()
    ours = voted.supported(voted.model.backbone.tail.bank.values, voted.model.text.features)
    yield "support", gap(ours, group["support_main"]), SUPPORT


def second_support(seen: Callable[[], Voted], group: Group) -> Iterator[Part]:
    """Of the auxiliary values."""
    voted = seen()
    ours = voted.supported(voted.model.backbone.tail.bank.auxiliary, voted.model.text.second)
    yield "auxiliary support", gap(ours, group["support_aux"]), SUPPORT


MAPS = {"logits": logits, "maxprob": probability, "label_before_vote": before, "label": after, "regions": given}
SUPPORTED = {
    "region_queries": queries,
    "neighbours": neighbours,
    "support_main": main_support,
    "support_aux": second_support,
}
