"""Who finds a picture's regions. Each provider is a small class over a kept library, chosen by name (`REGIONS`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from .regions import Regions, SoftRegions
from .store import Store

FOLDER = "work_dirs/regions"


class RegionProvider(nn.Module):
    """Finds regions, and keeps those of each picture on disk, by its pixels, the provider and its settings.

    Args:
        folder: where they are kept, None for nowhere.
        settings: all that moves what is found, as plain data.
    """

    trained_on: str = "nothing"
    """Whose masks it was trained with, since a benchmark's own make a score in-domain."""
    keeps: bool = True
    """Whether what it finds is worth keeping."""

    def __init__(self, folder: str | None = FOLDER, **settings: object) -> None:
        super().__init__()
        self.folder, self.settings = folder, settings

    @property
    def name(self) -> str:
        """Of its class, in the words of the signature and of errors."""
        return type(self).__name__

    @property
    def digest(self) -> str:
        """Of the weights or, without any, what else beside the settings moves what is found."""
        raise NotImplementedError

    @property
    def told(self) -> str:
        """Name, settings, digest and what it was trained on, for the signature."""
        options = ",".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return f"{self.name}({options})#{self.digest}[trained on {self.trained_on}]".replace("|", "/")

    @property
    def store(self) -> Store | None:
        """Where regions are kept."""
        key = json.dumps([self.name, self.settings, self.digest], sort_keys=True, default=str)
        return Store(Path(self.folder), key) if self.folder and self.keeps else None

    def find(self, picture: np.ndarray, name: str = "") -> Regions | SoftRegions:
        """Regions of a picture (H, W, 3), RGB of 8 bits, at its size; `name` is its file's, without the suffix."""
        raise NotImplementedError

    def lies_there(self, picture: np.ndarray) -> bool:
        """Whether those of this picture are kept."""
        store = self.store
        return store is not None and store.read(picture) is not None

    @torch.no_grad()
    def forward(self, picture: np.ndarray, name: str = "") -> Regions | SoftRegions:
        """Regions of a picture (H, W, 3), RGB of 8 bits: those that are kept, or found now and then kept.

        Raises InputError for regions of another size than the picture's.
        """
        store = self.store
        regions = store.read(picture) if store else None
        if regions is None:
            regions = self.find(picture, name)
            check_size(regions, picture.shape[:2], f"{self.name}{name and f', of {name},'}")
            if store:
                store.keep(picture, regions)
        return regions


def check_size(regions: Regions | SoftRegions, size: tuple[int, int], what: str) -> None:
    """Raises InputError for regions of another size (H, W) than the picture's."""
    if tuple(regions.size) != tuple(size):
        theirs, own = (f"{height} x {width}" for height, width in (regions.size, size))
        raise InputError(f"the regions of {what} are {theirs} (height x width), and the picture is {own}")
