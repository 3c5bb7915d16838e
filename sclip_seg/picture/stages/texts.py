"""Stages that turn the queries towards what is seen: towards each window's patches, and towards the whole picture.

F: unit features of a window's patches; t: unit features of the queries; g: unit feature of the picture as a whole, or
of the window; s_q = g·t_q. Clusters of queries are cut, at distance h, from a tree of the distances 1 - t·t':

    TextAdjuster     in each cluster the query with the largest s becomes t' = unit((1 - α) t + α unit(mean of the two F
                     that are most like t)), window by window; single queries are clusters too
    PresenceBlend    score = (1 - γ) score + γ s

Two papers have both: CASS (arXiv 2411.17150), whose tree is Ward's, and RF-CLIP (AAAI 2026), whose is of complete
linkage, with constants for each benchmark (configs/cass.py, configs/rfclip.py). What g is, the method says
(`Tail.summary`). Any method can have them: `model.stages`, in that order. The scores of a method that are no cosines
gain what the cosines gain, and are blended as they are; neither was published.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from ...registry import STAGES
from ...settings import NonNegative, Share
from ..picture import Picture, Scores
from ..stage import Stage

Linkage = Literal["ward", "complete", "average", "single"]
NEAREST = 2  # patches that a query is turned towards


class _Summarised(Stage):
    """A stage that knows s. `of` the whole 'picture' in one pass, or of each 'window'."""

    def __init__(self, of: Literal["picture", "window"]) -> None:
        super().__init__()
        self.needs_summary = of

    def presence(self, picture: Picture) -> Tensor:
        """s (1, Q), or (N, Q) of the windows."""
        return picture.summary(self.needs_summary) @ picture.text.features.T


@STAGES.register_module()
class PresenceBlend(_Summarised):
    """Adds to a query's scores how much it is like the whole picture.

    Args:
        gamma: γ.
        of: what g is of, the 'picture' or each 'window'.
    """

    def __init__(self, gamma: Share = 0.25, of: Literal["picture", "window"] = "picture") -> None:
        super().__init__(of)
        self.gamma = gamma

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        present = self.presence(picture)
        if len(present) > 1 and scores.layout != picture.plan:
            scores = picture.scored(scores.on(picture.plan, tuple(scores.tiles.shape[2:])))
        return Scores((1 - self.gamma) * scores.tiles + self.gamma * present[:, :, None, None], scores.layout)


@STAGES.register_module()
class TextAdjuster(_Summarised):
    """Turns one query of each cluster towards the patches that are most like it.

    Args:
        alpha: α.
        distance: h.
        linkage: SciPy's name of the tree.
        of: what g is of, the 'picture' or each 'window'.
    """

    needs_features = True

    def __init__(
        self,
        alpha: Share = 0.03,
        distance: NonNegative = 0.1,
        linkage: Linkage = "ward",
        of: Literal["picture", "window"] = "picture",
    ) -> None:
        super().__init__(of)
        self.alpha, self.distance, self.linkage = alpha, distance, linkage
        self._found: tuple[Tensor, Tensor] | None = None

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        features, queries = F.normalize(picture.patches.float(), dim=1), picture.text.features
        chosen = leaders(self.clusters(queries), self.presence(picture)).expand(len(features), -1)
        gained = self.gain(features.flatten(2).transpose(1, 2), queries[chosen])
        grid = tuple(features.shape[2:])
        tiles = scores.on(picture.plan, grid)
        where = chosen[:, :, None, None].expand(-1, -1, *grid)
        return picture.scored(tiles.scatter_add(1, where, gained.unflatten(2, grid)))

    def clusters(self, queries: Tensor) -> Tensor:
        """The cluster of each query, (Q,)."""
        if self._found is None or self._found[0] is not queries:
            self._found = queries, clusters(queries, self.linkage, self.distance).to(queries.device)
        return self._found[1]

    def gain(self, features: Tensor, queries: Tensor) -> Tensor:
        """F·t' - F·t (N, K, P) of unit features (N, P, D) and the queries (N, K, D) that are turned."""
        return (turned(features, queries, self.alpha) - queries) @ features.mT


def turned(features: Tensor, queries: Tensor, alpha: float) -> Tensor:
    """t' (N, K, D) of unit features (N, P, D) and unit queries (N, K, D)."""
    nearest = (queries @ features.mT).topk(min(NEAREST, features.shape[1]), dim=2).indices
    window = torch.arange(len(features), device=features.device)[:, None, None]
    seen = F.normalize(features[window, nearest].mean(2), dim=2)
    return F.normalize((1 - alpha) * queries + alpha * seen, dim=2)


def leaders(clusters: Tensor, present: Tensor) -> Tensor:
    """The query with the largest s (N, Q) in each cluster (Q,): (N, number of clusters)."""
    members = clusters == torch.arange(int(clusters.max()) + 1, device=clusters.device)[:, None]
    return present[:, None].masked_fill(~members, -torch.inf).argmax(2)


def clusters(queries: Tensor, method: str, distance: float) -> Tensor:
    """Of unit features (Q, D): the cluster of each, numbered from 0 as they first appear, (Q,)."""
    if len(queries) == 1:
        return torch.zeros(1, dtype=torch.long)
    unit = queries.double().cpu()
    apart = (1 - unit @ unit.T).clamp(min=0).fill_diagonal_(0)
    found = fcluster(linkage(squareform(apart.numpy(), checks=False), method), distance, "distance")
    number: dict[int, int] = {}
    return torch.tensor([number.setdefault(int(own), len(number)) for own in found])
