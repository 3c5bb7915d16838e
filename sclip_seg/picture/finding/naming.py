"""Names for clusters (S3A, arXiv 2308.12960): a vote over many words, and each word is given once.

Samples x_j of unit length with areas a_j, each in a cluster; words t_v of unit length:

    v_j = argmax_v x_j·t_v                                            a sample's vote, which stays
    A[c, v] = Σ_{j in c, v_j = v} a_j / Σ_{j in c} a_j                what share of a cluster voted for a word
    name(c): the matching of clusters and words with the largest Σ A  no word twice
    cluster of j = argmax over the names of x_j·t                     and the next round begins with these

Each name has attributes, texts e_i named w_i times. h_i counts a cluster's samples to whom e_i is one of the three
nearest of all its attributes, and in a last round the matching is by

    s(name) = Σ_{i of name} (w_i / Σ_{of name} w) h_i / (1 + Σ_{of the others} w)

Official code: github.com/sheng-eatamath/S3A, of pictures, each of area 1. Its divisor of s is another than the paper's
sum; it is followed. A cluster all of whose words went to others gets an arbitrary one there, and here none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CHUNK = 2**24  # cosines that are held at a time
NAMELESS = -1
ROUNDS, CANDIDATES, NEAREST = 3, 3, 3


@dataclass(frozen=True)
class Named:
    """Clusters after a round: `words` (C,) of each, NAMELESS where there is none; `shares` (C, V), their votes.

    `own` (M,) is the name that each sample goes to, a place in `names`.
    """

    words: np.ndarray
    shares: np.ndarray
    own: np.ndarray

    @property
    def names(self) -> np.ndarray:
        """The words that some cluster is called, ascending."""
        return np.sort(self.words[self.words != NAMELESS])

    @property
    def certainty(self) -> np.ndarray:
        """Of each cluster the share that voted for its word."""
        found = self.shares[np.arange(len(self.words)), self.words]
        return np.where(self.words == NAMELESS, 0.0, found)


def votes(features: Tensor, words: Tensor) -> np.ndarray:
    """v (M,) of unit features (M, D) among unit words (V, D)."""
    parts = features.split(max(1, CHUNK // len(words)))
    return torch.cat([(part.to(words) @ words.T).argmax(1) for part in parts]).cpu().numpy()


def vote_shares(vote: np.ndarray, cluster: np.ndarray, area: np.ndarray, words: int) -> np.ndarray:
    """A (C, V), float64, of clusters numbered from 0."""
    shares = np.zeros((int(cluster.max()) + 1, words))
    np.add.at(shares, (cluster, vote), area)
    return shares / shares.sum(1, keepdims=True)


def matched(scores: np.ndarray) -> np.ndarray:
    """The word of each cluster (C,) by the matching of largest scores (C, V); a score of 0 is no match."""
    rows, columns = linear_sum_assignment(scores.max() - scores)
    words = np.full(len(scores), NAMELESS)
    fits = scores[rows, columns] > 0
    words[rows[fits]] = columns[fits]
    return words


def nearest_names(features: Tensor, words: Tensor, names: np.ndarray) -> np.ndarray:
    """Of each sample (M,) the place in `names` of the one that it is most like."""
    return votes(features, words[torch.from_numpy(names).to(words.device)])


def rounds(
    features: Tensor, words: Tensor, cluster: np.ndarray, area: np.ndarray, vote: np.ndarray, count: int = ROUNDS
) -> list[Named]:
    """Round by round, from clusters (M,) numbered from 0 without gaps. Names that nobody goes to are gone."""
    found = []
    for _ in range(count):
        shares = vote_shares(vote, cluster, area, len(words))
        found.append(_regrouped(features, words, matched(shares), shares))
        cluster = np.unique(found[-1].own, return_inverse=True)[1]
    return found


def _regrouped(features: Tensor, words: Tensor, given: np.ndarray, shares: np.ndarray) -> Named:
    names = np.sort(given[given != NAMELESS])
    return Named(given, shares, nearest_names(features, words, names))


def candidates(shares: np.ndarray, count: int = CANDIDATES) -> list[np.ndarray]:
    """Of each cluster the words most voted for, of equals the first; fewer where there are no more."""
    order = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    return [row[own[row] > 0] for row, own in zip(order, shares, strict=True)]


@dataclass(frozen=True)
class Attributes:
    """Of one cluster's candidates: unit texts (A, D), of which candidate each is, and how often it was named."""

    texts: Tensor
    candidate: np.ndarray
    weight: np.ndarray


def attribute_scores(features: Tensor, attributes: Attributes, count: int, nearest: int = NEAREST) -> np.ndarray:
    """s (count,) of a cluster's candidates, of its samples (m, D)."""
    cosines = (features.to(attributes.texts) @ attributes.texts.T).cpu().numpy()
    closest = np.argsort(-cosines, axis=1, kind="stable")[:, :nearest]
    hits = np.bincount(closest.ravel(), minlength=len(attributes.weight))
    scores = np.zeros(count)
    for place in range(count):
        own = attributes.candidate == place
        weight, others = attributes.weight[own], attributes.weight[~own]
        if len(weight):
            scores[place] = (weight / weight.sum() * hits[own]).sum() / (1 + others.sum())
    return scores


def realigned(features: Tensor, words: Tensor, chosen: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> Named:
    """The last round: words `chosen` for each cluster, with their scores."""
    table = np.zeros((len(chosen), len(words)))
    for row, own, of_own in zip(table, chosen, scores, strict=True):
        row[own] = of_own
    return _regrouped(features, words, matched(table), table)
