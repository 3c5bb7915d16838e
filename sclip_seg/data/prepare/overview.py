"""A contact sheet: pictures of a dataset under their labels, for the eye."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ...drawing import GAP, LINE, overlay
from ...files import as_png, write_atomically
from ...lettering import cut, write
from ..bands import read_bands
from ..label_files import read_labels
from .verify import Findings

SHOWN, COLUMNS, CELL = 24, 6, 200  # pictures, pictures a row, pixels a side
ENTRY = 150  # pixels of a class in the legend


def write_overview(findings: Findings, path: Path) -> None:
    """Writes the sheet of up to `SHOWN` pictures, spread over the dataset, as PNG, whole or not at all."""
    write_atomically(path, as_png(draw_overview(findings)))


def draw_overview(findings: Findings) -> Image.Image:
    """The sheet: named cells, over a legend of the classes that occur in them."""
    chosen = np.linspace(0, len(findings.good) - 1, min(SHOWN, len(findings.good))).round().astype(int)
    rows = -(-len(chosen) // COLUMNS)
    panels, names, present = [], [], set()
    for index in chosen:
        picture, labels = _thumbnails(*findings.good[index], findings)
        panels.append(overlay(picture, labels, findings.palette))
        names.append(Path(findings.good[index][0]).stem)
        present |= {int(c) for c in np.unique(labels) if c < len(findings.classes)}
    width = GAP + COLUMNS * (CELL + GAP)
    entries, top = max(1, width // ENTRY), rows * (CELL + LINE + GAP) + GAP
    canvas = Image.new("RGB", (width, top + -(-len(present) // entries) * LINE + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for index, (panel, name) in enumerate(zip(panels, names, strict=True)):
        left, upper = GAP + index % COLUMNS * (CELL + GAP), GAP + index // COLUMNS * (CELL + LINE + GAP)
        draw.text((left, upper), _fitting(name, font), "black", font)
        canvas.paste(Image.fromarray(panel), (left, upper + LINE))
    for index, c in enumerate(sorted(present)):
        left, upper = GAP + index % entries * ENTRY, top + index // entries * LINE
        draw.rectangle((left, upper, left + 12, upper + 12), tuple(findings.palette[c]), "black")
        write(draw, (left + 18, upper + 6), cut(findings.classes[c], 11, ENTRY - 24), (0, 0, 0), 11)
    return canvas


def _thumbnails(picture: str, label: str, findings: Findings) -> tuple[np.ndarray, np.ndarray]:
    """Picture (h, w, 3) and labels as evaluated (h, w), to fit a cell."""
    small = Image.fromarray(findings.rule.classes_of(read_labels(label)).astype(np.int32))
    factor = CELL / max(small.size)
    size = tuple(max(1, round(side * factor)) for side in small.size)
    if findings.bands:
        whole = Image.fromarray(np.ascontiguousarray(read_bands(picture, findings.bands)[..., ::-1]))
    else:
        with Image.open(picture) as file:
            whole = ImageOps.exif_transpose(file).convert("RGB")
    pixels = whole.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(pixels), np.asarray(small.resize(size, Image.Resampling.NEAREST))


def _fitting(name: str, font: ImageFont.ImageFont) -> str:
    """The end of a name, which tells it from the others, in the width of a cell."""
    short = name
    while len(short) > 1 and font.getlength(short) > CELL:
        short = short[1:]
    return short if short == name else f"…{short[2:]}"
