"""The best of a class's queries at the network's size, for codes that merge queries before they enlarge (LPOSS)."""

import torch

from ...registry import STEPS
from ..picture import Picture
from ..scores import DenseMaps, StitchedMaps
from .step import ScoreStep


@STEPS.register_module()
class ClassMaximum(ScoreStep):
    """Every query gets the largest score of its class's, at the size of the network's input; enlarged from there.

    Without it the maximum is taken at the labels' size, which is another one where two queries of a class meet.
    """

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps:
        size = tuple(picture.image.shape[1:])
        scores, text = maps.at(size).dense(), picture.text
        owner = text.owner[:, None, None].expand_as(scores)
        largest = scores.new_full((text.classes, *size), -torch.inf).scatter_reduce(0, owner, scores, "amax")
        return picture.scored(largest[text.owner][None], whole=True).maps(tuple(maps.shape[1:]))
