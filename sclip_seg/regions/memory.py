"""A memory of a few labelled pictures (RAR, arXiv 2403.13805): features by which their classes are known again.

Keys m_i of unit length with labels l_i; of a unit feature x the k keys with the largest cosine:

    p(c) = Σ_{i of k, l_i = c} exp(x·m_i / τ) / Σ_{i of k} exp(x·m_i / τ)

A key may be of what is nothing that was named (REST): it takes votes from the names, and no class gets them. What a
score is measured with by such a memory is few-shot, and so it is marked. Official code: github.com/Liuziyu77/RAR, whose
retrieval is followed; it votes over whole pictures, and by a language model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..files import write_atomically
from ..handed_in import existing
from .search import FlatIndex, nearest, unit

FOLDER = "work_dirs/memory"
EXACT = 100_000  # keys that are searched one by one
NAMES, SHOTS, REGIONS = "names", "shots", "regions"
REST = ""  # the name of what is none of the names


@dataclass(frozen=True)
class RegionMemory:
    """`keys` (M, D) of unit length, `labels` (M,) places in `names`; `shots` pictures were labelled.

    `made` says with what, as plain text by name: the tower's digest, the method's tail; and, where regions were named
    one by one, how many `regions`.
    """

    name: str
    keys: Tensor
    labels: Tensor
    names: tuple[str, ...]
    shots: int
    made: dict[str, str]

    def __post_init__(self) -> None:
        if self.keys.ndim != 2 or self.labels.shape != self.keys.shape[:1] or not len(self.keys):
            raise InputError(f"the memory {self.name} needs a key and a label for each region")
        named = 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.names)
        if not self.keys.isfinite().all() or not named:
            raise InputError(f"the memory {self.name} has NaN or infinite numbers, or labels without a name")

    @classmethod
    def load(cls, spec: str | Path) -> RegionMemory:
        """By its name below `work_dirs/memory`, or from a file of `write`. Raises InputError for anything else."""
        path = place_of(spec)
        if not path.is_file():
            raise InputError(f"there is no memory {spec}: sclip-seg remember makes one ({path} is missing)")
        try:
            with safe_open(path, "pt") as file:
                keys, labels = file.get_tensor("keys"), file.get_tensor("labels")
                made = dict(file.metadata() or {})
            names, shots = made.pop(NAMES).split("\n"), int(made.pop(SHOTS))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"the memory {path} cannot be read: {error}") from error
        return cls(path.stem, F.normalize(keys.float(), dim=-1), labels.long(), tuple(names), shots, made)

    def write(self, path: Path) -> None:
        """The whole file or none of it."""
        write_atomically(path, self.content)

    @property
    def content(self) -> bytes:
        """What the file of `write` holds."""
        parts = {"keys": self.keys.float().cpu().contiguous(), "labels": self.labels.long().cpu().contiguous()}
        return save(parts, {**self.made, NAMES: "\n".join(self.names), SHOTS: str(self.shots)})

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over all that is in it."""
        total = hashlib.sha256(repr((self.names, self.shots, sorted(self.made.items()))).encode())
        for part in (self.keys, self.labels):
            total.update(part.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return total.hexdigest()[:12]

    @property
    def told(self) -> str:
        """For the signature: name, digest, and how many pictures were labelled for it."""
        return f"{self.name}#{self.digest},{self.shots}shots".replace("|", "/")

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names without REST."""
        return tuple(name for name in self.names if name != REST)

    @property
    def regions(self) -> int:
        """How many were named one by one; 0 where whole pictures were labelled."""
        told = self.made.get(REGIONS, "")
        return int(told) if told.isdecimal() and len(told) < 7 else 0  # a file may say anything

    @property
    def described(self) -> str:
        """For a reader: of how many regions or pictures it is, and of how many names."""
        of = _counted(self.regions, "region") if self.regions else _counted(self.shots, "picture")
        return f"memory: {of} of {_counted(len(self.own_names), 'name')}"

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Cosines and places (R, count) of the keys that are most like queries (R, D), the most alike first.

        All keys are looked at, up to `EXACT`; of more, by faiss where it is installed, whose index is exact too.
        """
        asked = unit(queries, self.keys, f"the memory {self.name}")
        if len(self.keys) > EXACT and find_spec("faiss") is not None:
            return self._index.nearest(asked, count)
        return nearest(self.keys, asked, count)

    def probabilities(self, queries: Tensor, count: int, temperature: float) -> Tensor:
        """p (R, N) of the names, of queries (R, D)."""
        cosines, places = self.nearest(queries, count)
        weights = (cosines / temperature).softmax(1)
        labels = self.labels.to(places.device)[places]
        return weights.new_zeros(len(weights), len(self.names)).scatter_add_(1, labels, weights)

    @cached_property
    def _index(self) -> FlatIndex:
        return FlatIndex(self.keys)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def place_of(spec: str | Path) -> Path:
    """Where a memory lies: at its path, or by its name in the folder of all."""
    text = str(spec)
    if "/" in text or text.endswith(".safetensors"):
        return existing(text)
    return Path(FOLDER, f"{text}.safetensors")
