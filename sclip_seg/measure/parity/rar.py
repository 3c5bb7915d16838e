"""RAR's retrieval.

stage_rar   `memory`, `memory_label`, `query` -> `neighbour`, `similarity`, `retrieved_label`
"""

from collections.abc import Iterator
from functools import partial

import torch

from ...regions.memory import RegionMemory
from .outcome import CLOSE, Part, differing, gap
from .reading import Check, File, reads
from .reference import Reference

GIVEN = ("memory", "memory_label", "query")
FOUND = ("neighbour", "similarity", "retrieved_label")


@reads("stage_rar")
def rar(reference: Reference, file: File) -> Iterator[Check]:
    """One case."""
    yield Check("stage", "rar", [key for key in (*GIVEN, *FOUND) if key in file], partial(retrieved, file))


def retrieved(file: File) -> Iterator[Part]:
    """The nearest of each query, in their order; equal labels may stand several times."""
    labels = torch.from_numpy(file["memory_label"]).long()
    names = tuple(map(str, range(int(labels.max()) + 1)))
    memory = RegionMemory("given", torch.from_numpy(file["memory"]), labels, names, len(labels), {})
    similarity, neighbour = memory.nearest(torch.from_numpy(file["query"]), file["neighbour"].shape[1])
    yield "neighbours that differ", differing(neighbour, file["neighbour"]), 0.0
    yield "similarity", gap(similarity, file["similarity"]), CLOSE
    yield "labels that differ", differing(labels[neighbour], file["retrieved_label"]), 0.0
