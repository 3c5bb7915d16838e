"""Regions made elsewhere, e.g. EntitySeg's of CorrCLIP: a map a picture, as a picture of 8 or 16 bits."""

import hashlib
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from ..errors import InputError
from ..handed_in import existing
from ..registry import REGIONS
from ..settings import Natural
from .provider import RegionProvider
from .regions import VOID, Regions


@REGIONS.register_module(name="files")
class Files(RegionProvider):
    """Maps NAME.png in a folder, for pictures NAME.jpg or the like; values are regions, the smaller painted first.

    Args:
        maps: the folder; a picture's map is found by the picture's name, wherever below.
        void: the value of what lies in no region, None where every value is a region.
        trained_on: whose masks whoever made them was trained with, for the signature.
    Raises:
        InputError: no such folder, or none with maps.
    """

    keeps = False

    def __init__(self, maps: str, void: Natural | None = 0, trained_on: str = "not said") -> None:
        super().__init__(None, maps=Path(maps).name, void=void)
        self.maps, self.void, self.trained_on = existing(maps), void, trained_on
        paths = sorted(self.maps.rglob("*.png")) if self.maps.is_dir() else []
        self.paths = {path.stem: path for path in paths}
        if not paths:
            raise InputError(f"there are no maps of regions in {self.maps}: NAME.png for each picture NAME")
        if len(self.paths) < len(paths):
            twice = next(path for path in paths if self.paths[path.stem] != path)
            raise InputError(f"two maps of regions have one name: {twice} and {self.paths[twice.stem]}")

    @cached_property
    def digest(self) -> str:
        """Over names and bytes of all maps."""
        total = hashlib.sha256()
        for name, path in sorted(self.paths.items()):
            total.update(repr((name, hashlib.sha256(path.read_bytes()).hexdigest())).encode())
        return total.hexdigest()[:12]

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        if not name:
            raise InputError("maps of regions are found by a picture's name, and this picture has none: give a file")
        if name not in self.paths:
            raise InputError(f"there is no map of regions for the picture {name} in {self.maps}")
        values = cv2.imread(str(self.paths[name]), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2:
            raise InputError(f"the map of regions {self.paths[name]} is no picture of one band, of 8 or 16 bits")
        ids = values.astype(np.int32)
        return Regions(torch.from_numpy(ids if self.void is None else np.where(ids == self.void, VOID, ids)))
