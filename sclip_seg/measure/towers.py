"""What the frozen networks alone cost: the floor that a method is timed beside."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from ..picture.segmentor import OpenVocabSegmentor
from ..towers.guide import Guide

Work = Callable[[], object]


def bare_towers(
    model: OpenVocabSegmentor, visual: nn.Module, windows: Tensor, size: tuple[int, int], count: int = 1
) -> Work:
    """All networks that a picture of `size` (H, W) goes through, on what they see of `count` such pictures.

    `visual` is open_clip's own tower, on normalised windows (N, 3, h, w) of one picture; guides see pixels that are
    random, and SAM's encoder its square.
    """
    tail, dtype = model.backbone.tail, model.backbone.dtype
    windows = windows.repeat(count, 1, 1, 1)
    pixels = torch.rand_like(windows, dtype=torch.float32)
    works: list[Work] = [partial(visual, tail.views(windows).to(dtype))]
    works += [partial(guide, pixels) for guide in guides("guide", [tail, *model.stages])]
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
