"""What a point of a picture looks at: in its window, or in all windows where the method looks across them."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
from torch import Tensor

from ..picture.picture import Picture
from ..picture.segmentor import OpenVocabSegmentor
from ..towers.attention import AttentionMaps
from ..towers.together import once

Box = tuple[float, float, float, float]
Size = tuple[int, int]


@dataclass(frozen=True)
class WindowWeights:
    """How a point looks at one window: `rows` (heads, h, w) fp32, the weights of its patches, row by row of its grid.

    `window` (top, left, bottom, right), and `area`, the same with the padding that the grid lies over as well, are in
    pixels of the picture.
    """

    rows: np.ndarray
    window: Box
    area: Box


@dataclass(frozen=True)
class AttentionRow:
    """What one point of a picture looks at.

    `rows` (heads, h, w), `window` and `area` are those of the window whose middle the point is nearest to
    (`WindowWeights`); `class_token` (heads,): the weight of the class token, None where the method leaves it out.
    `point` (y, x) is in pixels of the picture; `cell` (row, column) is the patch that the point is in. `across`: all
    windows, this one among them, where the method looks at all of them; else none.
    """

    rows: np.ndarray
    class_token: np.ndarray | None
    window: Box
    area: Box
    point: tuple[int, int]
    cell: tuple[int, int]
    across: tuple[WindowWeights, ...] = ()

    @property
    def seen(self) -> tuple[WindowWeights, ...]:
        """Every window that is looked at."""
        return self.across or (WindowWeights(self.rows, self.window, self.area),)


def rows_within(
    model: OpenVocabSegmentor, image: Tensor, size: Size, points: Sequence[Size], text: object, block: int, whole: bool
) -> list[AttentionRow]:
    """A row for each point (y, x) of a picture of `size` (H, W), read as `image` (3, h, w), in one window each."""
    plan, scale = model.windows_over(image.shape[1:], whole), np.array(size) / image.shape[1:]
    known: dict[Box, AttentionMaps] = {}
    rows = []
    for point in points:
        y, x = (np.array(point) + 0.5) / scale
        top, left, bottom, right = box = plan.around(y, x)
        if box not in known:
            cut = partial(plan.pad, image[None, :, top:bottom, left:right])
            window = once("window", image, astuple(plan), box, compute=cut)
            known[box] = model.backbone.attention_maps(window, text, block)
        maps = known[box]
        cell = plan.cell(y - top, x - left, maps.grid)
        patches, others = maps.of_patch(*cell)[0].cpu().numpy(), maps.of_others(*cell)[0].cpu().numpy()
        class_token = others.sum(-1) if maps.prefix else None
        places = _placed(box, scale), _placed(plan.area(box), scale)
        rows.append(AttentionRow(patches, class_token, *places, tuple(point), cell))
    return rows


def rows_across(model: OpenVocabSegmentor, picture: Picture, points: Sequence[Size]) -> list[AttentionRow]:
    """A row for each point (y, x) of a picture, in all of its windows; the class token has no part in it."""
    plan, scale = picture.plan, np.array(picture.size) / picture.fitted.shape[1:]
    rows = []
    for point in points:
        y, x = (np.array(point) + 0.5) / scale
        weights = model.backbone.tail.attention_across(picture, y, x).cpu().numpy()
        across = tuple(
            WindowWeights(own, _placed(box, scale), _placed(plan.area(box), scale))
            for own, box in zip(weights, plan.boxes(), strict=True)
        )
        box = plan.around(y, x)
        own, cell = across[plan.boxes().index(box)], plan.cell(y - box[0], x - box[1], weights.shape[2:])
        rows.append(AttentionRow(own.rows, None, own.window, own.area, tuple(point), cell, across))
    return rows


def _placed(box: Box, scale: np.ndarray) -> Box:
    """A box of the network's input in pixels of the picture."""
    return tuple((np.array(box) * np.tile(scale, 2)).tolist())
