"""Pictures of label maps."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP, LINE = 8, 18
IGNORED = (128, 128, 128)


def colourise(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Label map (H, W) -> (H, W, 3) uint8; whatever is beyond the palette is grey."""
    colours = np.array([*palette, IGNORED], dtype=np.uint8)
    return colours[np.minimum(labels, len(palette))]


def overlay(
    picture: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.6
) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB under its coloured labels."""
    return (opacity * colourise(labels, palette) + (1 - opacity) * picture).round().astype(np.uint8)


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
    font = ImageFont.load_default()
    total = 3 * cell + 4 * GAP
    columns = max(1, total // 130)
    rows = -(-len(present) // columns)
    canvas = Image.new("RGB", (total, LINE + height + 2 * GAP + rows * LINE), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (title, panel) in enumerate(panels.items()):
        left = GAP + index * (cell + GAP)
        draw.text((left, 2), title, "black", font)
        canvas.paste(Image.fromarray(panel), (left, LINE))
    for index, c in enumerate(present):
        left, top = GAP + index % columns * 130, LINE + height + GAP + index // columns * LINE
        draw.rectangle((left, top, left + 12, top + 12), tuple(palette[c]), "black")
        draw.text((left + 18, top), classes[c][:18], "black", font)
    return canvas
