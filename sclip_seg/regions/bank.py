"""A memory of regions seen before: for each a key, by which it is found again, and what CLIP made of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..files import write_atomically
from ..handed_in import existing
from .search import CHUNK, FlatIndex, nearest, unit

PARTS = ("keys", "values", "auxiliary")


@dataclass(frozen=True)
class RegionBank:
    """`keys` (M, C) of unit length, `values` (M, D) in the joint space of CLIP, `auxiliary` (M, D') in another's.

    `made` says of what and with what, as plain text by name, e.g. the digests of guide and tower.
    """

    name: str
    keys: Tensor
    values: Tensor
    auxiliary: Tensor | None
    made: dict[str, str]

    def __post_init__(self) -> None:
        parts = [part for part in (self.keys, self.values, self.auxiliary) if part is not None]
        if any(part.ndim != 2 or len(part) != len(self.keys) for part in parts) or not len(self.keys):
            raise InputError(f"the bank {self.name} needs a key and a value for each region, of one length each")

    @classmethod
    def load(cls, path: str | Path) -> RegionBank:
        """From a file of `write`. Raises InputError for anything else."""
        path = existing(path)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in PARTS if name in file.keys()}  # noqa: SIM118
                made = dict(file.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise InputError(f"the bank of regions {path} cannot be read: {error}") from error
        if not {"keys", "values"} <= tensors.keys():
            raise InputError(f"{path} is no bank of regions: it lacks keys or values")
        if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
            raise InputError(f"the bank of regions {path} has NaN or infinite numbers among its {broken[0]}")
        keys = F.normalize(tensors["keys"].float(), dim=1)
        return cls(path.stem, keys, tensors["values"], tensors.get("auxiliary"), made)

    def write(self, path: Path) -> None:
        """The whole file or none of it; values are of half precision, as released."""
        parts = {"keys": self.keys.float(), "values": self.values.half()}
        if self.auxiliary is not None:
            parts["auxiliary"] = self.auxiliary.half()
        write_atomically(path, save({name: part.cpu().contiguous() for name, part in parts.items()}, self.made))

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over all that is in it."""
        total = hashlib.sha256()
        for name in PARTS:
            part = getattr(self, name)
            if part is not None:
                total.update(repr((name, tuple(part.shape))).encode())
                total.update(part.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return total.hexdigest()[:12]

    @property
    def told(self) -> str:
        """For the signature."""
        made = ",".join(f"{key}={value}" for key, value in sorted(self.made.items()))
        return f"{self.name}#{self.digest}({made})".replace("|", "/")

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """The `count` regions (R, count) whose keys have the largest cosine with queries (R, C), the largest first."""
        return nearest(self.keys, self._asked(queries), count)[1]

    def by_faiss(self, queries: Tensor, count: int) -> Tensor:
        """The same by faiss' exact index, which is kept. Raises InputError where faiss is not installed."""
        return self._index.nearest(self._asked(queries), count)[1]

    def _asked(self, queries: Tensor) -> Tensor:
        return unit(queries, self.keys, f"the bank {self.name}", "and the guide gives")

    @cached_property
    def _index(self) -> FlatIndex:
        try:
            return FlatIndex(self.keys)
        except ImportError as error:
            raise InputError(
                "search='faiss' needs faiss: pip install faiss-cpu; search='exact' needs nothing"
            ) from error


def support(neighbours: Tensor, values: Tensor, text: Tensor) -> Tensor:
    """Cosines (R, Q) of the mean value of each region's neighbours (R, k) with texts (Q, D)."""
    if values.shape[1] != text.shape[1]:
        raise InputError(f"the bank's values have {values.shape[1]} numbers, and the texts {text.shape[1]}")
    mean = values[neighbours.to(values.device)].float().mean(1).to(text.device)
    return F.normalize(mean, dim=1) @ text.float().T


def region_means(features: Tensor, place: Tensor, count: int, operators: tuple[Tensor, Tensor]) -> Tensor:
    """Unit means (count, C) of features (C, h, w) over the pixels of each region, each pixel's of unit length.

    `place` (H, W) is the region of a pixel; `operators` (H, h) and (W, w) bring the features to pixels, some rows at a
    time.
    """
    rows, columns = operators
    sums = features.new_zeros(count, len(features))
    step = max(1, CHUNK // (len(features) * len(columns)))
    for top in range(0, len(rows), step):
        band = F.normalize(rows[top : top + step] @ features @ columns.T, dim=0)
        sums.index_add_(0, place[top : top + step].flatten(), band.flatten(1).T)
    return F.normalize(sums / place.flatten().bincount(minlength=count)[:, None], dim=1)
