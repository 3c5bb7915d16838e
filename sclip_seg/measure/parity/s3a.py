"""S3A's names for clusters, of given features, words and first clusters.

stage_s3a   `feature`, `vocabulary`, `start` -> `vote`; of each round `iterN.share` (the largest of a cluster's),
            `.cluster_name`, `.cluster_votes`, `.label`, `.name_of_sample`; `realign.candidates`, `.attribute` with its
            `_cluster`, `_candidate` and `_count`, `.cluster_of_sample` -> `.score`, `.cluster_name`, `.name_of_sample`

Which three words of equal votes are a cluster's candidates is an accident there, so they are given.
"""

import re
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...picture.finding.naming import Attributes, Named, attribute_scores, realigned, rounds, votes
from .outcome import Part, differing, gap
from .reading import Check, File, reads
from .reference import Reference

GIVEN = ["feature", "vocabulary", "start"]
SHARES = 1e-6


@reads("stage_s3a")
def s3a(reference: Reference, file: File) -> Iterator[Check]:
    """Votes, a case for each round, and the last one by attributes."""
    yield Check("stage", "s3a", [*GIVEN, "vote"], partial(voted, file))
    numbers = sorted({int(found[1]) for key in file.keys if (found := re.match(r"iter(\d+)\.", key))})
    for number in numbers:
        keys = [key for key in file.keys if key.startswith(f"iter{number}.")]
        yield Check("stage", f"s3a round {number}", keys, partial(of_round, file, number))
    keys = [key for key in file.keys if key.startswith("realign.")]
    if keys:
        yield Check("stage", "s3a realigned", keys, partial(by_attributes, file))


def given(file: File) -> tuple[Tensor, Tensor]:
    """Samples and words."""
    return torch.from_numpy(file["feature"]), torch.from_numpy(file["vocabulary"])


def voted(file: File) -> Iterator[Part]:
    """The votes of all samples."""
    yield "votes that differ", differing(votes(*given(file)), file["vote"]), 0.0


def of_round(file: File, number: int) -> Iterator[Part]:
    """A round, by way of those before it."""
    features, words = given(file)
    start, area = file["start"].astype(int), np.ones(len(features))
    found = rounds(features, words, start, area, votes(features, words), number + 1)[-1]
    head = f"iter{number}"
    yield "largest shares", gap(found.shares.max(1), file[f"{head}.share"]), SHARES
    yield "shares", gap(found.certainty, file[f"{head}.cluster_votes"]), SHARES
    cluster = np.unique(found.own, return_inverse=True)[1]
    yield "samples elsewhere", differing(cluster, file[f"{head}.label"]), 0.0
    yield from named(found, file, head)


def named(found: Named, file: File, head: str) -> Iterator[Part]:
    """Names of clusters and samples."""
    yield "names that differ", differing(found.words, file[f"{head}.cluster_name"]), 0.0
    yield "samples' names that differ", differing(found.names[found.own], file[f"{head}.name_of_sample"]), 0.0


def by_attributes(file: File) -> Iterator[Part]:
    """The scores of the candidates, and what comes of them."""
    features, words = given(file)
    chosen, cluster = file["realign.candidates"].astype(int), file["realign.cluster_of_sample"]
    scores = []
    for number, own in enumerate(chosen):
        mine = file["realign.attribute_cluster"] == number
        texts = torch.from_numpy(file["realign.attribute"][mine])
        weight = file["realign.attribute_count"][mine].astype(float)
        attributes = Attributes(texts, file["realign.attribute_candidate"][mine], weight)
        scores.append(attribute_scores(features[cluster == number], attributes, len(own)))
    yield "scores", gap(np.stack(scores), file["realign.score"]), SHARES
    yield from named(realigned(features, words, [*chosen], scores), file, "realign")
