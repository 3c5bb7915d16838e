"""Keys that are most like a feature, among all that were remembered: exact search, by a product or by faiss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError

CHUNK = 2**26  # similarities that are held at a time


def unit(queries: Tensor, keys: Tensor, whose: str, but: str = "not") -> Tensor:
    """Queries (R, C) of unit length. Raises InputError where keys (M, C) are of another length; `whose`: of what."""
    if queries.shape[1] != keys.shape[1]:
        raise InputError(f"{whose} has keys of {keys.shape[1]} numbers, {but} {queries.shape[1]}")
    return F.normalize(queries.float(), dim=1)


def nearest(keys: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and places (R, count) of the unit keys (M, C) most like unit queries (R, C), the most alike first."""
    keys, count = keys.to(queries.device), min(count, len(keys))
    parts = [(some @ keys.T).topk(count, dim=1) for some in queries.split(max(1, CHUNK // len(keys)))]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


class FlatIndex:
    """The same by faiss, whose flat index is exact too. Raises ImportError where it is not installed."""

    def __init__(self, keys: Tensor) -> None:
        import faiss

        self.index = faiss.IndexFlatIP(keys.shape[1])
        self.index.add(keys.cpu().numpy())

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As the function above."""
        found, places = self.index.search(queries.cpu().numpy(), min(count, self.index.ntotal))
        return torch.from_numpy(found).to(queries), torch.from_numpy(places).to(queries.device)
