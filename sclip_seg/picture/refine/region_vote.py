"""One label a region: every pixel takes the commonest label of its region. CorrCLIP ends with it; any method can."""

from typing import Literal

import torch
from torch import Tensor

from ...regions.regions import VOID, nearest
from ...registry import REGIONS, STEPS
from ..picture import Picture
from ..scores import DenseMaps, StitchedMaps
from .step import LabelStep


@STEPS.register_module()
class RegionVote(LabelStep):
    """The vote on labels, after the background's threshold; void keeps its pixels' own.

    Args:
        regions: config of a `RegionProvider`, or its name; None takes those that the method looks at.
        void: 'explicit', or 'smallest' as CorrCLIP is released: the smallest number of the picture's map does not
            vote, a region's where nothing is void.
    """

    needs_original = True

    def __init__(self, regions: dict | str | None = None, void: Literal["explicit", "smallest"] = "explicit") -> None:
        super().__init__()
        self.regions, self.void = None if regions is None else REGIONS.build(regions), void

    def revise(self, labels: Tensor, maps: StitchedMaps | DenseMaps, picture: Picture) -> Tensor:
        ids = nearest(picture.regions(self.regions).ids, tuple(labels.shape))
        return vote(labels, ids, void_of(ids, self.void))


def void_of(ids: Tensor, rule: str) -> int:
    """The number that counts as void in a map: VOID, or the 'smallest' there is."""
    return int(ids.min()) if rule == "smallest" else VOID


def vote(labels: Tensor, ids: Tensor, void: int) -> Tensor:
    """Labels (H, W) after each region of `ids` (H, W) but void took its commonest; of equals the lower label."""
    regions, place = ids.unique(return_inverse=True)
    classes = int(labels.max()) + 1
    counts = (place * classes + labels).flatten().bincount(minlength=len(regions) * classes).view(-1, classes)
    lower_first = torch.arange(classes - 1, -1, -1, device=labels.device)
    commonest = (counts * classes + lower_first).argmax(1)
    return torch.where(ids == void, labels, commonest[place])
