"""Pictures of label maps, and colours for their classes."""

from collections.abc import Sequence
from functools import cache
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .lettering import cut, length, write

COLOURS = Path(__file__).with_name("colours.txt")
GAP, LINE = 8, 18
IGNORED = (128, 128, 128)
TEXT, FAINT = (0, 0, 0), (110, 110, 110)
SMALLEST = 12  # pixels of font size that stay legible
NARROWEST = 260  # pixels: a legend below a smaller picture is wider than it
NAME = 7  # of a font's size: what a name has beside a long note
FEW, MANY = 8, 24  # entries: up to the one, long names have room; beyond the other, all are written smaller


def make_palette(count: int) -> list[list[int]]:
    """(count, 3) RGB colours, the same ones every time: those of fewer classes are the first ones of more.

    The first 1024 are those of `colours.txt`: each is as far as can be, also for the colour-blind, from those before it
    and from black, white and grey, and neighbours differ much. Beyond them, each is the point of a grid that lies
    farthest, in CIE Lab, from all others.
    """
    palette = [list(colour) for colour in first_colours()[:count]]
    sides = 17
    while len(palette) < count:
        steps = np.linspace(0, 1, sides, dtype=np.float32)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        lab, colours = _lab(grid), np.rint(grid * 255).astype(int).tolist()
        taken = _lab(np.array([[0, 0, 0], [255, 255, 255], IGNORED, *palette], np.float32) / 255)
        distance = np.full(len(grid), np.inf, np.float32)
        for place in taken:
            distance = np.minimum(distance, np.linalg.norm(lab - place, axis=1))
        while len(palette) < count and distance.max() > 1:  # nearer ones are one colour to the eye
            farthest = int(distance.argmax())
            palette.append(colours[farthest])
            distance = np.minimum(distance, np.linalg.norm(lab - lab[farthest], axis=1))
        sides = 2 * sides - 1
    return palette


@cache
def first_colours() -> list[tuple[int, ...]]:
    """The colours of `colours.txt`, in order."""
    lines = COLOURS.read_text(encoding="utf-8").split("\n")
    return [tuple(bytes.fromhex(line)) for line in lines if line and not line.startswith("#")]


def _lab(colours: np.ndarray) -> np.ndarray:
    """CIE Lab (N, 3) of RGB (N, 3) in [0, 1]."""
    return cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)[0]


def colourise(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Label map (H, W) -> (H, W, 3) uint8; whatever is beyond the palette is grey."""
    colours = np.array([*palette, IGNORED], dtype=np.uint8)
    return colours[np.minimum(labels, np.int64(len(palette)))]


def overlay(
    picture: np.ndarray,
    labels: np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float = 0.6,
    background: int | None = None,
) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB under its coloured labels; pixels of the class `background` stay unpainted."""
    painted = np.float32(opacity) * colourise(labels, palette)
    painted += np.float32(1 - opacity) * picture
    painted = painted.round(out=painted).astype(np.uint8)
    return painted if background is None else np.where((labels == background)[..., None], picture, painted)


def figure(
    picture: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    background: int | None = None,
    note: str = "",
) -> Image.Image:
    """The picture under its labels, at its size, over a legend of the classes found, the largest first.

    The legend says what share of the pixels each class has; its letters grow with the picture. The class `background`
    is left unpainted, and the legend says so; a `note` stands in a line below it.
    """
    height, width = labels.shape
    entries = [
        (classes[c], f"{percent(share)}, not painted", None)
        if c == background
        else (classes[c], percent(share), tuple(palette[c]))
        for c, share in shares(labels, len(classes))
        if share
    ]
    size = letters(height, width)
    below, line = legend(entries, max(width, NARROWEST), size), 2 * size if note else 0
    canvas = Image.new("RGB", (below.width, height + below.height + line), "white")
    canvas.paste(Image.fromarray(overlay(picture, labels, palette, background=background)))
    canvas.paste(below, (0, height))
    if note:
        place = size // 2, canvas.height - line // 2
        write(ImageDraw.Draw(canvas), place, cut(note, size, canvas.width - size), FAINT, size)
    return canvas


def shares(labels: np.ndarray, classes: int) -> list[tuple[int, float]]:
    """Each class with its share of the pixels of labels (H, W), in [0, 1]; the largest first."""
    count = np.bincount(labels.ravel(), minlength=classes)
    return [(int(c), float(count[c] / labels.size)) for c in np.argsort(-count, kind="stable")]


def letters(height: int, width: int) -> int:
    """Font size in pixels for a picture of this size: some 7 points where 500 x 375 pixels are 8 cm wide in print."""
    return max(SMALLEST, round(sqrt(height * width) / 28))


def percent(share: float) -> str:
    """A share in [0, 1] for the eye: `41 %`, `0.3 %`, `<0.1 %`."""
    rounded = round(100 * share, 1)
    if not rounded:
        return "<0.1 %"
    return f"{rounded:.1f} %" if rounded < 1 else f"{100 * share:.0f} %"


def legend(entries: Sequence[tuple[str, str, tuple[int, int, int] | None]], width: int, size: int) -> Image.Image:
    """Names, what stands greyed behind them, and their colours (None: a field that is struck out), in columns on white.

    Reads down each column. `width` in pixels is kept whatever the entries are: names that are too long are cut.
    `size` is the font's in pixels; many entries are written smaller, if that stays legible.
    """
    if len(entries) > MANY:
        size = max(SMALLEST, round(0.8 * size))
    gap, line = size // 2, round(1.45 * size)
    swatch = size + gap
    most = width - 2 * gap - swatch
    room = min(most, (18 if len(entries) <= FEW else 11) * size)
    texts = []
    for name, note, _ in entries:
        note = f"  {note}" if note else ""
        own = max(room - length(note, size), min(NAME * size, most - length(note, size)))
        texts.append((cut(name, size, own), note))
    lengths = [swatch + ceil(length(name, size) + length(note, size)) + 2 * gap for name, note in texts]
    rows, lefts = columns_of(lengths, width - gap)
    canvas = Image.new("RGB", (width, rows * line + 2 * gap if rows else 0), "white")
    draw = ImageDraw.Draw(canvas)
    for index, ((name, note), (_, _, colour)) in enumerate(zip(texts, entries, strict=True)):
        left, top = gap + lefts[index // rows], gap + index % rows * line
        start, side, edge = top + (line - size) // 2, size - 1, max(1, size // 16)
        draw.rectangle((left, start, left + side, start + side), colour, FAINT, edge)
        if colour is None:
            draw.line((left, start + side, left + side, start), FAINT, edge)
        write(draw, (left + swatch, top + line // 2), name, TEXT, size)
        write(draw, (left + swatch + length(name, size), top + line // 2), note, FAINT, size)
    return canvas


def columns_of(lengths: Sequence[int], width: int) -> tuple[int, list[int]]:
    """The fewest rows in which entries of these lengths, set column by column, stay within a width in pixels.

    Returns the number of rows, and where each column starts. Columns are as wide as their longest entry.
    """
    for rows in range(1, len(lengths) + 1):
        widths = [max(lengths[top : top + rows]) for top in range(0, len(lengths), rows)]
        if sum(widths) <= width or rows == len(lengths):
            return rows, [sum(widths[:index]) for index in range(len(widths))]
    return 0, []


def side_by_side(
    picture: np.ndarray,
    prediction: np.ndarray,
    label: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Image.Image:
    """Picture, prediction and label in a row, titled, over a legend of the classes that occur."""
    panels = {
        "picture": picture,
        "prediction": overlay(picture, prediction, palette),
        "label": overlay(picture, label, palette),
    }
    height, width = picture.shape[:2]
    cell = max(width, 96)
    present = [c for c in np.union1d(np.unique(prediction), np.unique(label)) if c < len(classes)]
    entries = [(classes[c], "", tuple(palette[c])) for c in present]
    below = legend(entries, 3 * cell + 4 * GAP, letters(height, width))
    canvas = Image.new("RGB", (below.width, LINE + height + below.height), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (title, panel) in enumerate(panels.items()):
        left = GAP + index * (cell + GAP)
        write(draw, (left, LINE // 2), title, TEXT, SMALLEST)
        canvas.paste(Image.fromarray(panel), (left, LINE))
    canvas.paste(below, (0, LINE + height))
    return canvas
