"""YOLO's segmentation files: a line a region, its class and its polygon in shares of width and height."""

import json
from collections.abc import Iterator

from .found import Classes, Found
from .maps import Maps
from .polygons import polygon


class Yolo(Maps):
    """`labels/NAME.txt` beside `images/NAME.*`, and `data.yaml`. Classes count from 0 without the background."""

    def files(self, found: Found) -> dict[str, bytes]:
        """The regions' lines; none of a picture with nothing, which is an example too."""
        height, width = found.labels.shape
        number = {label: place for place, label in enumerate(found.classes.things)}
        lines = []
        for region, _ in found.regions():
            points = polygon(region)
            shares = (points / (width, height)).ravel()
            lines.append(" ".join([str(number[region.label]), *(f"{value:.6f}" for value in shares)]) + "\n")
        return {f"labels/{found.name}.txt": "".join(lines).encode()}

    def whole(self, classes: Classes, records: object) -> dict[str, Iterator[bytes]]:
        """data.yaml, without a `path`: its own folder is meant. Texts of JSON are texts of YAML."""
        lines = ["train: images", "val: images", "names:"]
        lines += [f"  {place}: {json.dumps(classes.names[label])}" for place, label in enumerate(classes.things)]
        return {"data.yaml": iter([("\n".join(lines) + "\n").encode()])}
