"""Pictures of what points look at, and of score maps; numpy and cv2 draw, pillow writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from .attention_row import AttentionRow, WindowWeights

COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].copy()
OPACITY, DIMMED = 0.6, 0.45  # of the colours over the grey picture; of the picture's colours beside the window
BREADTH, SIDES, SMALLEST = 1920, (200, 480), 12  # pixels: of a figure, of its panels' longer side, of its letters
GREY = (96, 96, 96)


def heat(picture: np.ndarray, row: AttentionRow, head: int | None = None) -> np.ndarray:
    """The weights of a point's patches over the windows that they lie in; where windows overlap, they add up.

    Colours go from 0 to the `largest` that is drawn of the head (the mean over heads for None), so that a panel shows
    where, not how much: the weights of methods sum to 1, 2 or 3. What no window holds that is looked at is dimmed.

    Args:
        picture: (H, W, 3) uint8 RGB, the one that the row is of.
        head: counted from 0.
    Returns:
        (H, W, 3) uint8 RGB: bilinear between the patches' middles, the point's window framed, the point in a ring.
    """
    places = tuple(np.arange(side, dtype=np.float32) + 0.5 for side in picture.shape[:2])
    coloured = score_map(picture, summed(row, head, *places), 0.0, largest(row, head))
    inside = np.zeros(picture.shape[:2], bool)
    for part in row.seen:
        inside[_held(part, *places)] = True
    dimmed = (DIMMED * picture).astype(np.uint8)
    return _marked(np.where(inside[..., None], coloured, dimmed), row)


def summed(row: AttentionRow, head: int | None, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The weights of all windows at ascending places y (H,) and x (W,) of the picture, added up: (H, W) fp32."""
    total = np.zeros((len(y), len(x)), np.float32)
    for part in row.seen:
        held, weights = _held(part, y, x), weights_of(part, head)
        top, left, bottom, right = part.area
        rows = _between((y[held[0]] - top) / (bottom - top), weights.shape[0])
        columns = _between((x[held[1]] - left) / (right - left), weights.shape[1])
        total[held] += rows @ weights @ columns.T
    return total


def largest(row: AttentionRow, head: int | None = None) -> float:
    """The most that the weights add up to at the middle of a patch."""
    y, x = (np.unique(np.concatenate(places)) for places in zip(*map(middles, row.seen), strict=True))
    return float(summed(row, head, y, x).max())


def middles(part: WindowWeights) -> tuple[np.ndarray, np.ndarray]:
    """The patches' middles y (h,) and x (w,), in pixels of the picture."""
    top, left, bottom, right = part.area
    height, width = part.rows.shape[1:]
    return (
        top + (np.arange(height) + 0.5) * (bottom - top) / height,
        left + (np.arange(width) + 0.5) * (right - left) / width,
    )


def _held(part: WindowWeights, y: np.ndarray, x: np.ndarray) -> tuple[slice, slice]:
    """Which of ascending places lie in a window, its padding aside."""
    top, left, bottom, right = part.window
    return slice(*np.searchsorted(y, (top, bottom))), slice(*np.searchsorted(x, (left, right)))


def _between(places: np.ndarray, cells: int) -> np.ndarray:
    """(pixels, cells): how much of each cell a place in [0, 1] has, linear between middles and level beyond them."""
    middle = (places * cells - 0.5).clip(0, cells - 1)[:, None]
    return np.maximum(0, 1 - abs(middle - np.arange(cells, dtype=np.float32)))


def weights_of(part: WindowWeights, head: int | None = None) -> np.ndarray:
    """The weights (h, w) fp32 of one head, or their mean over the heads for None."""
    return np.ascontiguousarray(part.rows.mean(0) if head is None else part.rows[head], dtype=np.float32)


def score_map(picture: np.ndarray, scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scores (H, W) coloured from `low` to `high`, what lies beyond as they, over the grey picture (H, W, 3) RGB."""
    share = (scores - low) / max(high - low, np.finfo(np.float32).tiny)
    colours = COLOURS[(255 * share.clip(0, 1)).round().astype(np.uint8)]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    return (OPACITY * colours + (1 - OPACITY) * grey).round().astype(np.uint8)


def _marked(picture: np.ndarray, row: AttentionRow) -> np.ndarray:
    """The picture with the row's window framed, if it is a part, and its point in a ring; thick as it is large."""
    height, width = picture.shape[:2]
    thick = max(1, round(max(height, width) / 320))
    top, left, bottom, right = (round(edge) for edge in row.window)
    picture = np.ascontiguousarray(picture)
    if (top, left, bottom, right) != (0, 0, height, width):
        half = thick // 2
        corners = (left + half, top + half), (right - 1 - half, bottom - 1 - half)
        cv2.rectangle(picture, *corners, (255, 255, 255), thick)
    y, x = row.point
    radius = max(3, 4 * thick)
    picture = cv2.circle(picture, (x, y), radius, (0, 0, 0), 3 * thick, cv2.LINE_AA)
    return cv2.circle(picture, (x, y), radius, (0, 255, 255), thick, cv2.LINE_AA)


def at_panel_size(
    picture: np.ndarray, rows: Sequence[AttentionRow], columns: int
) -> tuple[np.ndarray, list[AttentionRow]]:
    """A picture (H, W, 3) and its rows at the size of panels in so many columns, so that marks are drawn at it."""
    before = np.array(picture.shape[:2])
    height, width = _panel_size(*before, columns)
    scale = np.array([height, width]) / before

    def boxes(part: AttentionRow | WindowWeights) -> dict[str, tuple[float, ...]]:
        pairs = {"window": part.window, "area": part.area}
        return {name: tuple((np.array(box) * np.tile(scale, 2)).tolist()) for name, box in pairs.items()}

    moved = []
    for row in rows:
        place = tuple(((np.array(row.point) + 0.5) * scale).astype(int).tolist())
        across = tuple(replace(part, **boxes(part)) for part in row.across)
        moved.append(replace(row, **boxes(row), point=place, across=across))
    return _resized(picture, (height, width)), moved


def _panel_size(height: int, width: int, columns: int) -> tuple[int, int]:
    scale = min(max(BREADTH // columns, SIDES[0]), SIDES[1]) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    method = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(picture, size[::-1], interpolation=method)


def grid(
    panels: Sequence[Sequence[np.ndarray]],
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    captions: Sequence[Sequence[str]],
    colours: tuple[str, str],
) -> Image.Image:
    """Titled panels in rows and columns, over a bar that says what the colours mean.

    Args:
        panels: (H, W, 3) uint8 RGB, of one size all; shown at a longer side of 200 to 480 pixels, by the columns.
        title: above everything.
        rows: above each row.
        columns: above the panels of the first row.
        captions: beneath each panel.
        colours: what the two ends of the bar mean.
    """
    height, width = _panel_size(*panels[0][0].shape[:2], len(columns))
    size = max(max(height, width) // 28, SMALLEST)
    font, line, gap = ImageFont.load_default(size), round(1.5 * size), size

    def length(text: str) -> int:
        return int(font.getlength(text)) + 1

    cell = max(width, *(length(text) for text in (*columns, *(text for row in captions for text in row))))
    bar = 12 * size
    legend = length(colours[0]) + gap + bar + gap + length(colours[1])
    total = 2 * gap + max(len(columns) * (cell + gap) - gap, legend, *(length(text) for text in (title, *rows)))
    first = gap + 2 * line  # the top of the first row: title and columns are above it
    block = line + height + line + gap  # a row's title, its panels, their captions
    canvas = Image.new("RGB", (total, first + len(rows) * block + line + gap), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, gap), title, "black", font)
    lefts = [gap + index * (cell + gap) for index in range(len(columns))]
    for left, text in zip(lefts, columns, strict=True):
        draw.text((left, gap + line), text, "black", font)
    for number, (name, row) in enumerate(zip(rows, panels, strict=True)):
        top = first + number * block
        draw.text((gap, top), name, GREY, font)
        for left, panel, caption in zip(lefts, row, captions[number], strict=True):
            canvas.paste(Image.fromarray(_resized(panel, (height, width))), (left, top + line))
            draw.text((left, top + line + height + size // 5), caption, "black", font)
    top, left = first + len(rows) * block, gap + length(colours[0]) + gap
    draw.text((gap, top), colours[0], "black", font)
    ramp = np.repeat(COLOURS[np.linspace(0, 255, bar).round().astype(int)][None], size, axis=0)
    canvas.paste(Image.fromarray(ramp), (left, top + size // 5))
    draw.text((left + bar + gap, top), colours[1], "black", font)
    return canvas
