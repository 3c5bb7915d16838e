"""Presence pruning: a class whose best score in a picture is too low is taken out of it. Any method can have it.

    class c leaves if the largest score of its queries, of all cells or pixels of the picture, is at most t

Four papers have it, on scores of their own:

    CLIPer (arXiv 2411.13836)    its scores on the patches                   `of='scores', at='patches'`
    RADSeg (arXiv 2511.19704)    probabilities after they are enlarged       `of='probabilities', at='pixels'`
    MaskCLIP (arXiv 2112.01071)  probabilities on the patches; by windows in `methods/maskclip.py`, here by pictures:
                                                                             `of='probabilities', at='patches'`
    ActiveSAM (arXiv 2606.16996) those whose presence is below a quantile of all, and beyond the best 40; of SAM 3's
                                 presence there, so that this is a form like it   `threshold=None, share=0.2, most=40`

The official codes of the last two let a class stay whose best probability is t exactly. RADSeg's probabilities are
those of the patches, enlarged: so they are here, unless a step before made maps of pixels. Its pruned classes become 0
and the others are not divided by their new sum: so they are here where scores are probabilities (`logit_scale=None`).
Else they have no part in any softmax that follows, so that a background threshold sees the probabilities among the
classes that stay.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ...registry import STEPS
from ...settings import Count, Real, Share
from ..picture import Picture
from ..scores import DenseMaps, Labelling, StitchedMaps
from .step import ScoreStep

REMOVED = -1e4  # the score of a class that is not there: finite, so that what follows may still mix and enlarge maps


@STEPS.register_module()
class Presence(ScoreStep):
    """Takes classes out of a picture by their best score.

    The background, where there is one, never leaves. Where no class is left and there is none, all is class 0, as
    RADSeg's argmax has it. A query of several classes counts for the one that it speaks for, as in the labels.

    Args:
        threshold: t; classes whose best score is at most that leave, of probabilities those below it; None: none.
        of: 'scores' as the method gives them, or 'probabilities', their softmax over all queries (`logit_scale`).
        at: 'patches', the method's cells before they are enlarged, or 'pixels' of the labels.
        share: the share of all classes that stays at most, by their best scores.
        most: how many classes stay at most; a vocabulary of no more than that keeps them all, whatever `share` says.
    """

    def __init__(
        self,
        threshold: Real | None = 0.5,
        of: Literal["scores", "probabilities"] = "probabilities",
        at: Literal["patches", "pixels"] = "pixels",
        share: Share = 1.0,
        most: Count | None = None,
    ) -> None:
        super().__init__()
        self.threshold, self.of, self.at, self.share, self.most = threshold, of, at, share, most

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps | DenseMaps:
        rule = picture.labelling
        best = best_of_classes(self.best(maps, rule.logit_scale), rule)
        absent = beyond(best, self.share, self.most)
        if self.threshold is not None:
            absent |= best < self.threshold if self.of == "probabilities" else best <= self.threshold
        return without(maps, absent_queries(absent, rule), REMOVED if rule.logit_scale else 0.0)

    def best(self, maps: StitchedMaps | DenseMaps, logit_scale: float | None) -> Tensor:
        """The largest score of each query, (Q,)."""
        if self.of == "probabilities":
            maps = probabilities(maps, logit_scale)
        return best_on_patches(maps) if self.at == "patches" else best_on_pixels(maps)


def probabilities(maps: StitchedMaps | DenseMaps, logit_scale: float | None) -> StitchedMaps | DenseMaps:
    """Maps of the queries' probabilities: of patches, to be enlarged, where the maps still have them."""
    if logit_scale is None:
        return maps
    if isinstance(maps, DenseMaps):
        return DenseMaps((logit_scale * maps.scores).softmax(0))
    return replace(maps, lattice=(logit_scale * maps.lattice).softmax(0), at=None)


def best_on_patches(maps: StitchedMaps | DenseMaps) -> Tensor:
    """The largest score of each query (Q,) on the cells of all windows; on pixels where a step made maps of them."""
    return (maps.scores if isinstance(maps, DenseMaps) else maps.lattice).amax((1, 2))


def best_on_pixels(maps: StitchedMaps | DenseMaps) -> Tensor:
    """The largest score of each query (Q,) on the maps' pixels."""
    return torch.stack([scores.amax((1, 2)) for _, scores in maps.bands(1.0)]).amax(0)


def best_of_classes(best: Tensor, labelling: Labelling) -> Tensor:
    """(Q,) -> (K,): the best of the queries that speak for each class, -inf for one that has none."""
    of_class = best.new_full((labelling.classes,), -torch.inf)
    return of_class.scatter_reduce(0, labelling.speaks_for, best, "amax")


def beyond(best: Tensor, share: float, most: int | None) -> Tensor:
    """Which classes are not among the best `share` of all by their scores (K,), or not among the best `most`."""
    if len(best) <= (most or 0):
        return torch.zeros_like(best, dtype=torch.bool)
    absent = best < best[best.isfinite()].quantile(1 - share)
    return absent if most is None else absent.index_fill(0, best.argsort(descending=True, stable=True)[most:], True)


def absent_queries(absent: Tensor, labelling: Labelling) -> Tensor:
    """Which queries (Q,) leave with the classes (K,) that do; one class stays, the background or else the first."""
    staying = labelling.background
    if staying is None and absent.all() and labelling.logit_scale is not None:
        staying = 0
    if staying is not None:
        absent = absent.index_fill(0, torch.tensor([staying], device=absent.device), False)
    return absent[labelling.speaks_for]


def without(maps: StitchedMaps | DenseMaps, removed: Tensor, value: float = REMOVED) -> StitchedMaps | DenseMaps:
    """The maps, with `value` all over those of the removed queries (Q,)."""
    where = removed[:, None, None]
    if isinstance(maps, DenseMaps):
        return DenseMaps(maps.scores.masked_fill(where, value))
    at = maps.at and (lambda size, at=maps.at: without(at(size), removed, value))
    return replace(maps, lattice=maps.lattice.masked_fill(where, value), at=at)
