"""Files that a visitor takes home: label maps, overlays with a legend, the list of classes, all scores."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...drawing import figure
from ...files import as_png, write_atomically
from ..predictor import Prediction
from .found import Found, score_file

if TYPE_CHECKING:
    from ...regions.memory import RegionMemory


def labels_and_overlays(picture: np.ndarray, found: Sequence[Found], threshold: float) -> list[str]:
    """Of each method METHOD.labels.png and METHOD.overlay.png, and classes.txt, whose first line is class 0.

    Few-shot ones are called METHOD.few_shot.labels.png.
    """
    contents: dict[str, bytes | str] = {"classes.txt": "".join(f"{name}\n" for name in found[0].classes)}
    for one in found:
        contents[f"{one.stem}.labels.png"] = one.label_file(threshold)
        contents[f"{one.stem}.overlay.png"] = overlay_file(picture, one, threshold)
    return _written(contents)


def overlay_file(picture: np.ndarray, found: Found, threshold: float = 0.0) -> bytes:
    """The picture (H, W, 3) under its labels, over a legend, as PNG; below the threshold it is bare."""
    note = f"few-shot, {found.memory}" if found.memory else ""
    drawn = figure(picture, found.labels, found.classes, found.palette, found.background, note)
    bare = found.unsure(threshold)
    pixels = np.array(drawn)
    pixels[: len(bare), : bare.shape[1]][bare] = picture[bare]
    return as_png(Image.fromarray(pixels))


def scores(predictions: Mapping[str, Prediction], memories: Mapping[str, "RegionMemory"]) -> list[str]:
    """Of each method METHOD.npz; of those with a memory METHOD.few_shot.npz."""
    contents = {}
    for method, prediction in predictions.items():
        told = memories[method].described if method in memories else ""
        contents[f"{method}.few_shot.npz" if told else f"{method}.npz"] = score_file(prediction, told)
    return _written(contents)


def memory_files(memories: Mapping[str, "RegionMemory"]) -> list[str]:
    """Of each method METHOD.memory.safetensors, which `--memory` takes."""
    return _written({f"{method}.memory.safetensors": memory.content for method, memory in memories.items()})


def _written(contents: Mapping[str, bytes | str]) -> list[str]:
    """Their paths in a new folder among the page's uploads, where they end as those do."""
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR")))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [str(folder / name) for name in contents]
