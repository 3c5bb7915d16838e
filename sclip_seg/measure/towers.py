"""What the frozen networks alone cost: the floor that a method is timed beside."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from ..methods.corrclip_v2 import CorrCLIPv2
from ..picture.picture import in_units
from ..picture.segmentor import OpenVocabSegmentor
from ..towers.guide import Guide

Work = Callable[[], object]


def bare_towers(
    model: OpenVocabSegmentor, visual: nn.Module, windows: Tensor, size: tuple[int, int], count: int = 1, crops: int = 0
) -> Work:
    """All networks that a picture of `size` (H, W) goes through, on what they see of `count` such pictures.

    `visual` is open_clip's own tower, on normalised windows (N, 3, h, w) of one picture; guides see pixels that are
    random, and SAM's encoder its square. `crops` of a picture go through the tower at its own size, a batch at a time.
    """
    tail, dtype = model.backbone.tail, model.backbone.dtype
    windows = windows.repeat(count, 1, 1, 1)
    pixels = torch.rand_like(windows, dtype=torch.float32)
    works: list[Work] = [partial(visual, tail.views(windows).to(dtype))]
    if isinstance(tail, CorrCLIPv2):  # whose guide sees the whole picture
        pixels = in_units(torch.rand(1, 3, *size, device=windows.device), tail.guide.unit).repeat(count, 1, 1, 1)
    works += [partial(guide, pixels) for guide in guides("guide", [tail, *model.stages])]
    batch, native = model.window["batch"], model.backbone.native
    own = model.backbone.clip.visual
    for some in torch.rand(count * crops, 3, *native, device=windows.device).to(dtype).split(batch) if crops else ():
        works.append(partial(own, some))
    for guide in dict.fromkeys([*guides("affinity", [tail]), *guides("guide", model.label_steps)]):
        side = getattr(guide, "side", None)
        picture = torch.rand(1, 3, *((side, side) if side else size), device=windows.device)
        bare = partial(guide.model.forward_features, picture.to(dtype)) if side else partial(guide, picture)
        works += [bare] * (count * (2 if getattr(tail, "halves", False) else 1))

    def run() -> None:
        for work in works:
            work()

    return run


def guides(place: str, parts: Iterable[nn.Module]) -> list[Guide]:
    """The guides that parts of a model have at `place`, each once."""
    return list(dict.fromkeys(guide for part in parts if isinstance(guide := getattr(part, place, None), Guide)))
