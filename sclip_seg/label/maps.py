"""Label maps: PNG of 8 bits with their palette, of 16 bits from 256 classes on; npz of labels, or of scores too."""

from io import BytesIO

import numpy as np
from PIL import Image

from ..files import as_png
from .found import Found


class Maps:
    """`labels/NAME.png`, each pixel the number of its class."""

    def files(self, found: Found) -> dict[str, bytes]:
        """The label map."""
        picture = Image.fromarray(found.labels)
        if found.labels.dtype == np.uint8:
            picture.putpalette(found.classes.colours)
        return {f"labels/{found.name}.png": as_png(picture)}

    def record(self, found: Found) -> dict:
        """Nothing."""
        return {}

    def whole(self, classes: object, records: object) -> dict:
        """Nothing."""
        return {}


class Scores(Maps):
    """`labels/NAME.npz`: `labels`, `classes`, and `scores` (K, H, W) float16 where they are asked for."""

    def files(self, found: Found) -> dict[str, bytes]:
        """The arrays."""
        buffer = BytesIO()
        arrays = {"labels": found.labels, "classes": np.array(found.classes.names)}
        if found.scores is not None:
            arrays["scores"] = found.scores.astype(np.float16)
        np.savez_compressed(buffer, **arrays)
        return {f"labels/{found.name}.npz": buffer.getvalue()}
