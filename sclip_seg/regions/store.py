"""Regions on disk: hard maps as PNG of 16 bits, soft masks as safetensors; whole or not there."""

import hashlib
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..errors import InputError
from ..files import write_atomically
from .regions import VOID, Regions, SoftRegions

KEPT_AS = torch.float16  # soft masks


class Store:
    """A folder of regions found in one way, which `key` says in full: a file a picture, named by its pixels."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    def place(self, picture: np.ndarray) -> Path:
        """The path, without its suffix, for a picture (H, W, 3)."""
        content = hashlib.sha256(repr((picture.shape, picture.dtype.str)).encode())
        content.update(np.ascontiguousarray(picture))
        name = content.hexdigest()[:32]
        return self.folder / name[:2] / name

    def read(self, picture: np.ndarray) -> Regions | SoftRegions | None:
        """Those kept of a picture; None where there are none, or anything about them is odd."""
        place = self.place(picture)
        for suffix, read in ((".png", _read_map), (".safetensors", _read_masks)):
            if (path := place.with_suffix(suffix)).is_file():
                regions = read(path)
                if regions is not None and tuple(regions.size) == picture.shape[:2]:
                    return regions
        return None

    def keep(self, picture: np.ndarray, regions: Regions | SoftRegions) -> None:
        """Writes them; the run does without where that cannot be done."""
        suffix, content = _as_file(regions)
        try:
            write_atomically(self.place(picture).with_suffix(suffix), content)
        except OSError as error:
            warnings.warn(f"regions are not kept for the next run: {error}", UserWarning, stacklevel=3)


def _as_file(regions: Regions | SoftRegions) -> tuple[str, bytes]:
    if isinstance(regions, Regions):
        values = (regions.ids - VOID).cpu().numpy().astype(np.uint16)
        return ".png", cv2.imencode(".png", values)[1].tobytes()
    tensors = {"logits": regions.logits.to(KEPT_AS), "objectness": regions.objectness.float()}
    if regions.embeddings is not None:
        tensors["embeddings"] = regions.embeddings.to(KEPT_AS)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return ".safetensors", save(tensors, {"size": f"{regions.size[0]} {regions.size[1]}"})


def _read_map(path: Path) -> Regions | None:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        return None
    try:
        return Regions(torch.from_numpy(values.astype(np.int32) + VOID))
    except InputError:
        return None


def _read_masks(path: Path) -> SoftRegions | None:
    try:
        with safe_open(path, "pt") as file:
            size = tuple(int(side) for side in (file.metadata() or {}).get("size", "").split())
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return None
    if len(size) != 2 or not {"logits", "objectness"} <= tensors.keys():
        return None
    return SoftRegions(tensors["logits"], size, tensors["objectness"], tensors.get("embeddings"))
