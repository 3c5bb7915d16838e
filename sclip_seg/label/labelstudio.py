"""Label Studio's JSON: a task a picture, its regions as predictions, by brush or by polygons.

A brush is the packed run lengths of an RGBA picture, 255 where the region is. Its bits: 32 for the number of values,
5 for a value's width less 1, four times 4 for the widths of the lengths less 1; then runs: 1, two bits for which of
the widths, the length less 1, the value.
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from .found import Classes, Found
from .polygons import polygon

WIDTHS = (3, 4, 8, 16)  # bits of a run's length
BANDS = 4


class LabelStudio:
    """`tasks.json`, for a project with an Image `image` and BrushLabels or PolygonLabels `tag`."""

    def __init__(self, polygons: bool) -> None:
        self.kind = "polygonlabels" if polygons else "brushlabels"

    def files(self, found: Found) -> dict[str, bytes]:
        """None."""
        return {}

    def record(self, found: Found) -> dict:
        """The task."""
        height, width = found.labels.shape
        results = []
        for number, (region, score) in enumerate(found.regions()):
            if self.kind == "brushlabels":
                value = {"format": "rle", "rle": brush(region.whole((height, width)))}
            else:
                points = polygon(region) * 100 / (width, height)
                value = {"points": points.tolist(), "closed": True}
            results.append(
                {
                    "id": f"region{number}",
                    "from_name": "tag",
                    "to_name": "image",
                    "type": self.kind,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": score,
                    "value": {**value, self.kind: [found.classes.names[region.label]]},
                }
            )
        prediction = {"model_version": "sclip_seg", "result": results}
        return {"data": {"image": found.file}, "predictions": [prediction]}

    def whole(self, classes: Classes, records: Iterable[dict]) -> dict[str, Iterator[bytes]]:
        """The list of tasks."""
        return {"tasks.json": _parts(records)}


def _parts(records: Iterable[dict]) -> Iterator[bytes]:
    yield b"["
    for number, record in enumerate(records):
        yield (",\n" * bool(number) + json.dumps(record)).encode()
    yield b"]\n"


def brush(mask: np.ndarray) -> list[int]:
    """The bytes of a region's mask (H, W) of 0 and 1."""
    values = mask.ravel()
    ends = np.flatnonzero(np.diff(values, append=2)) + 1
    bits = [f"{BANDS * len(values):032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in WIDTHS)]
    start = 0
    for end in ends.tolist():
        value, left = "11111111" if values[start] else "00000000", BANDS * (end - start)
        while left:
            length = min(left, 2 ** WIDTHS[-1])
            place, width = next((p, w) for p, w in enumerate(WIDTHS) if length <= 2**w)
            bits.append(f"1{place:02b}{length - 1:0{width}b}{value}")
            left -= length
        start = end
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
