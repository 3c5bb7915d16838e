"""A picture's regions: a hard map with an explicit void, or soft masks that may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError

VOID = -1  # of a pixel that lies in no region; every region's number is larger
MOST = 2**16 - 2  # regions of a picture, as its file holds them
SURE = 0.5  # least probability of a pixel in a mask


@dataclass(frozen=True)
class Regions:
    """`ids` (H, W), int32: the region that each pixel lies in, from 0, or VOID. The numbers need not be without gaps.

    Raises InputError for numbers out of range.
    """

    ids: Tensor

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or not self.ids.numel():
            raise InputError(f"a map of regions is (H, W), not {tuple(self.ids.shape)}")
        if int(self.ids.min()) < VOID or int(self.ids.max()) > MOST:
            raise InputError(f"regions are numbered from 0 to {MOST}, and {VOID} is none")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)"""
        return tuple(self.ids.shape)

    @property
    def count(self) -> int:
        """How many regions there are."""
        return int((self.ids.unique() > VOID).sum())

    def to(self, device: torch.device) -> Regions:
        """The same on `device`."""
        return Regions(self.ids.to(device))

    def hard(self) -> Regions:
        """Itself."""
        return self


@dataclass(frozen=True)
class SoftRegions:
    """R masks of a picture of `size` (H, W), as logits on a grid of their own, (R, h, w).

    `objectness` (R,) in [0, 1] is how sure it is that there is something, `embeddings` (R, D) what a network's query
    for it became, where it has some.
    """

    logits: Tensor
    size: tuple[int, int]
    objectness: Tensor
    embeddings: Tensor | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.logits)

    def to(self, device: torch.device) -> SoftRegions:
        """The same on `device`."""
        embeddings = None if self.embeddings is None else self.embeddings.to(device)
        return SoftRegions(self.logits.to(device), self.size, self.objectness.to(device), embeddings)

    def masks(self, which: slice = slice(None)) -> Tensor:
        """Probabilities (R, H, W) of the pixels; the logits are enlarged, not what becomes of them."""
        if not len(self.logits[which]):
            return self.logits.new_zeros(0, *self.size)
        return F.interpolate(self.logits[which][None], self.size, mode="bilinear", align_corners=False)[0].sigmoid()

    def hard(self) -> Regions:
        """Each pixel in the mask that is surest of it, objectness times probability; void where none is by half."""
        best = self.objectness.new_zeros(self.size)
        ids = torch.full(self.size, VOID, dtype=torch.int32, device=best.device)
        for index, objectness in enumerate(self.objectness):
            (mask,) = self.masks(slice(index, index + 1))
            wins = (mask >= SURE) & (objectness * mask > best)
            best = torch.where(wins, objectness * mask, best)
            ids[wins] = index
        return Regions(ids)


def painted(masks: Sequence[Tensor], order: Tensor, size: tuple[int, int]) -> Regions:
    """Masks (H, W), bool, one over the other in ascending `order` (R,): what is painted later covers the earlier.

    Region i is that of `masks[i]`; of equals the first is painted first.
    """
    ids = torch.full(size, VOID, dtype=torch.int32)
    for index in order.argsort(stable=True).tolist():
        ids[masks[index]] = index
    return Regions(ids)


def painted_by_area(masks: Sequence[Tensor], size: tuple[int, int]) -> Regions:
    """The largest last, as CorrCLIP's maps of SAM 2 were made: it covers the smaller inside. Numbered as painted."""
    smallest_first = sorted(masks, key=lambda mask: int(mask.sum()))
    return painted(smallest_first, torch.arange(len(smallest_first)), size)


def nearest(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (..., h, w) of whole numbers at `size`, by torch's rule for 'nearest': cell ⌊i · in / out⌋ in fp32."""
    rows, columns = (_sources(*sides, ids.device) for sides in zip(ids.shape[-2:], size, strict=True))
    return ids[..., rows, :][..., columns]


def _sources(count: int, target: int, device: torch.device) -> Tensor:
    places = torch.arange(count, dtype=torch.float32, device=device)
    return F.interpolate(places[None, None], size=target, mode="nearest")[0, 0].long()
