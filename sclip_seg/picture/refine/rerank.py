"""A second opinion on regions whose scores are unsure (RAR, arXiv 2403.13805): names sorted by who sees the crop.

A region is a part of the labels that hangs together. P: its mean class probabilities. Where the two best classes differ
by less than a margin, a `Reranker` is shown the region's box and the best names, best first, and the region takes the
name that it puts in front. What it answered is kept, by the crop's pixels, the names and the reranker's digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...files import write_atomically
from ...regions.parts import parts
from ...registry import RERANKERS, STEPS
from ...settings import Count, Natural, Share
from ..picture import Picture
from ..scores import DenseMaps, StitchedMaps
from .step import LabelStep


class Reranker(Protocol):
    """Who is asked."""

    told: str
    """Name and digest, for the signature and for what is kept."""

    def rank(self, crop: np.ndarray, names: Sequence[str]) -> Sequence[int]:
        """The names' places, the likeliest first, of a crop (h, w, 3), RGB of 8 bits."""


def parsed(answer: str, names: Sequence[str]) -> list[int]:
    """Places of the names in the first list in brackets of an answer; as they were where it is not these very names."""
    inside = answer.partition("[")[2].partition("]")
    said = [part.strip().strip("'\"") for part in inside[0].split(",")] if inside[1] else []
    if sorted(said) != sorted(names):
        return list(range(len(names)))
    return [list(names).index(name) for name in said]


class Answers:
    """Answers of a reranker that are kept, one small file each; in `folder` None, while the process lives."""

    def __init__(self, folder: str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.known: dict[str, list[int]] = {}

    def order(self, reranker: Reranker, crop: np.ndarray, names: Sequence[str]) -> list[int]:
        """Its answer, now or before. Raises InputError for what is no order of the names."""
        told = json.dumps([reranker.told, list(crop.shape), list(names)]).encode()
        key = hashlib.sha256(told + np.ascontiguousarray(crop).tobytes()).hexdigest()[:32]
        if key not in self.known:
            order = self._read(key, len(names))
            if order is None:
                order = [int(place) for place in reranker.rank(crop, names)]
                if sorted(order) != list(range(len(names))):
                    raise InputError(f"{reranker.told} gave {order}, which is no order of {len(names)} names")
                if self.folder is not None:
                    write_atomically(self.folder / f"{key}.json", json.dumps(order))
            self.known[key] = order
        return self.known[key]

    def _read(self, key: str, count: int) -> list[int] | None:
        path = None if self.folder is None else self.folder / f"{key}.json"
        if path is None or not path.is_file():
            return None
        try:
            order = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return order if isinstance(order, list) and sorted(map(str, order)) == sorted(map(str, range(count))) else None


@STEPS.register_module()
class Rerank(LabelStep):
    """Asks about unsure regions.

    Args:
        reranker: config of one of `RERANKERS`, `dict(type='ImageTextToText', checkpoint='FOLDER')`; or one itself.
        margin: less than which the two best classes of an unsure region differ.
        top: names that are asked about.
        least: pixels of a region that is worth asking; in smaller ones the labels stay.
        folder: where answers are kept, None for nowhere.
    """

    needs_original = True

    def __init__(
        self,
        reranker: object,
        margin: Share = 0.1,
        top: Count = 5,
        least: Natural = 64,
        folder: str | None = "work_dirs/reranked",
    ) -> None:
        super().__init__()
        self.reranker: Reranker = RERANKERS.build(reranker) if isinstance(reranker, dict) else reranker
        if not callable(getattr(self.reranker, "rank", None)):
            raise InputError(f"Rerank.reranker is a config, dict(type=...), or has a method rank, unlike {reranker!r}")
        self.margin, self.top, self.least, self.answers = margin, top, least, Answers(folder)

    def revise(self, labels: Tensor, maps: StitchedMaps | DenseMaps, picture: Picture) -> Tensor:
        pixels, revised = picture.pixels(), labels.clone()
        p = picture.labelling.probabilities(maps)
        scale = tuple(whole / side for whole, side in zip(pixels.shape[:2], labels.shape, strict=True))
        for _, mask, box in parts(labels.cpu().numpy(), self.least):
            mean = p[:, torch.from_numpy(mask).to(p.device)].mean(1)
            best = mean.argsort(descending=True, stable=True)[: self.top].tolist()
            if len(best) < 2 or mean[best[0]] - mean[best[1]] >= self.margin:
                continue
            top, left, bottom, right = (round(side * scale[axis % 2]) for axis, side in enumerate(box))
            names = [picture.names[label] for label in best]
            order = self.answers.order(self.reranker, pixels[top:bottom, left:right], names)
            revised[torch.from_numpy(mask).to(labels.device)] = best[order[0]]
        return revised
