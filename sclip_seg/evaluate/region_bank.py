"""The work of `sclip-seg region-bank`: values by CorrCLIP, keys by the guide of CorrCLIPv2, as released."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmseg.registry import MODELS
from torch import Tensor

from ..bars import Bar
from ..config import WORDS, load_config
from ..data.files import find_files
from ..data.loading import read_picture
from ..data.pictures import SUFFIXES
from ..errors import InputError
from ..picture.picture import Picture, Scores
from ..picture.segmentor import OpenVocabSegmentor
from ..picture.window import bilinear
from ..regions.bank import RegionBank, region_means
from ..regions.regions import VOID
from ..registry import GUIDES
from ..towers.guide import Guide

RELEASED = {"model.short_side": 448, "model.window.crop": 336, "model.window.stride": 112}
RELEASED |= {"model.backbone.tail.merge": None, "model.refine": []}


def make(pictures: Path, out: Path, backbone: str | None, auxiliary: str | None, changes: dict[str, object]) -> None:
    """Writes the bank of all pictures below a folder."""
    either = (*SUFFIXES, *map(str.upper, SUFFIXES))
    paths = [pictures / name for name in sorted(find_files(str(pictures), either))] if pictures.is_dir() else []
    if not paths:
        raise InputError(f"there are no pictures in {pictures} ({', '.join(SUFFIXES)})")
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out} is to be a .safetensors file")
    towers = [encoder(name, changes) for name in (backbone, auxiliary)[: 2 if auxiliary else 1]]
    guide = GUIDES.build(load_config("corrclip_v2", WORDS, backbone).model.backbone.tail.guide).to(get_device())
    with Bar(paths, desc="bank", unit="picture") as bar:
        bank = bank_of(bar, towers, guide, out.stem)
    bank.write(out)
    print(f"{len(bank.keys)} regions of {len(paths)} pictures, digest {RegionBank.load(out).digest}, written to {out}")


def encoder(backbone: str | None, changes: dict[str, object]) -> OpenVocabSegmentor:
    """CorrCLIP as the bank's values are made with."""
    config = load_config("corrclip", WORDS, backbone, RELEASED | changes)
    model = MODELS.build(config.model).eval().to(get_device())
    model.settle()
    return model


@dataclass(frozen=True)
class Kept:
    """Of a picture's regions: a key and the values of each tower, of unit length."""

    key: Tensor
    values: list[Tensor]


def bank_of(paths: Iterable[Path], towers: list[OpenVocabSegmentor], guide: Guide, name: str) -> RegionBank:
    """The bank of all regions of all pictures; void is left out."""
    kept = list(of_pictures(paths, towers, guide))
    if not kept:
        raise InputError("no picture has a region")
    values = [torch.cat(parts) for parts in zip(*(one.values for one in kept), strict=True)]
    tail = towers[0].backbone.tail
    made = {"guide": guide.digest, "regions": tail.regions.told, "values_by": tail.guide.digest}
    made |= dict(zip(("tower", "auxiliary"), (tower.backbone.digest for tower in towers), strict=False))
    return RegionBank(name, torch.cat([one.key for one in kept]), values[0], values[1] if values[1:] else None, made)


@torch.no_grad()
def of_pictures(paths: Iterable[Path], towers: list[OpenVocabSegmentor], guide: Guide) -> Iterator[Kept]:
    """What is kept of each picture that has regions."""
    for path in paths:
        looked = [look(tower, path) for tower in towers]
        ids = looked[0].regions(towers[0].backbone.tail.regions).ids
        numbers, place = ids.unique(return_inverse=True)
        real = numbers != VOID
        if not real.any():
            continue
        (whole,) = looked[0].whole_features(guide).float()
        operators = tuple(bilinear(*sides).to(whole) for sides in zip(whole.shape[1:], ids.shape, strict=True))
        key = region_means(whole, place, len(numbers), operators)[real].cpu()
        pairs = zip(towers, looked, strict=True)
        yield Kept(key, [value_means(tower, picture, place, len(numbers))[real].cpu() for tower, picture in pairs])


def look(model: OpenVocabSegmentor, path: Path) -> Picture:
    """A picture after the trunk; nobody asks for words."""
    (picture,) = model.look(*model.data_preprocessor.of_pictures([read_picture(path)], [str(path)]))
    return picture


def value_means(model: OpenVocabSegmentor, picture: Picture, place: Tensor, count: int) -> Tensor:
    """Unit means (count, D) over the pixels of each region of the tail's features, stitched at full size."""
    tail = model.backbone.tail
    tiles = torch.stack([tail.scoped(picture.trunk, *window).float() for window in tail.windows(picture)])
    sums = tiles.new_zeros(count, tiles.shape[1])
    for band, features in Scores(tiles, picture.plan).maps(tuple(place.shape)).bands(1.0):
        sums.index_add_(0, place[band].flatten(), features.flatten(1).T)
    return F.normalize(sums / place.flatten().bincount(minlength=count)[:, None], dim=1)
