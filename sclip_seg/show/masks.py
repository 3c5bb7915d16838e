"""What was found, as others take it: a mask a class with its score, as transformers' pipelines and supervision do."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import InputError
from ..picture.scores import DenseMaps, Labelling, StitchedMaps

if TYPE_CHECKING:
    from supervision import Detections


def certainty(labelling: Labelling, maps: StitchedMaps | DenseMaps, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Probabilities (H, W) of each pixel's own class and of its best one, fp32, band by band.

    They differ where a class dropped out or a threshold gave a pixel to the background.
    """
    own, best = (np.empty(labels.shape, np.float32) for _ in range(2))
    for band, probabilities in labelling.bands(maps):
        merged = probabilities.cpu().numpy()
        own[band] = np.take_along_axis(merged, labels[band][None], 0)[0]
        best[band] = merged.max(0)
    return own, best


def masks(labels: np.ndarray, own: np.ndarray, names: tuple[str, ...]) -> list[dict]:
    """Of each class that has pixels `label`, `score` (mean probability there) and `mask` (PIL, 255 where it is)."""
    found = []
    for index in np.unique(labels):
        inside = labels == index
        mask = Image.fromarray(inside.astype(np.uint8) * 255)
        found.append({"label": names[index], "score": float(own[inside].mean()), "mask": mask})
    return found


def detections(labels: np.ndarray, own: np.ndarray, names: tuple[str, ...], background: int | None) -> "Detections":
    """The same as supervision's type, the background left out. Raises InputError where it is not installed."""
    try:
        from supervision import Detections
    except ImportError as error:
        raise InputError("found.detections() needs supervision: pip install supervision") from error
    classes = np.array([index for index in np.unique(labels) if index != background], dtype=int)
    if not len(classes):
        return Detections.empty()
    inside = labels[None] == classes[:, None, None]
    boxes = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in map(np.nonzero, inside)]
    return Detections(
        xyxy=np.array(boxes, dtype=np.float32),
        mask=inside,
        confidence=np.array([own[mask].mean() for mask in inside], dtype=np.float32),
        class_id=classes,
        data={"class_name": np.array([names[index] for index in classes])},
    )
