"""Class probabilities on the patches, for methods that enlarge these and not the scores (RADSeg, arXiv 2511.19704).

    p = softmax over all queries of (scale · score), cell by cell

What follows takes them as they are with `logit_scale=None`. Enlarged, they sum to 1 at every pixel, but the best class
may be another than that of the enlarged scores. In windows that overlap, their probabilities are averaged.
"""

from ...registry import STAGES
from ...settings import Positive
from ..picture import Picture, Scores
from ..stage import Stage


@STAGES.register_module()
class Probabilities(Stage):
    """Turns scores into probabilities.

    Args:
        scale: the factor of the cosines before the softmax.
    """

    def __init__(self, scale: Positive = 100.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        return Scores((self.scale * scores.tiles).softmax(1), scores.layout)
