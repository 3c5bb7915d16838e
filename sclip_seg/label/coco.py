"""COCO's JSON: an annotation a region, by pycocotools' run lengths or by polygons."""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import InputError
from .found import Classes, Found
from .polygons import polygon

NOTE = "A region is all pixels of one class that hang together; it is no instance."


class Coco:
    """`annotations.json`. A category's number is its class's, one more where there is no background class 0."""

    def __init__(self, polygons: bool) -> None:
        try:
            from pycocotools import mask
        except ImportError as error:
            raise InputError("--format coco needs pycocotools: pip install 'sclip_seg[label]'") from error
        self.polygons, self.library = polygons, mask

    def files(self, found: Found) -> dict[str, bytes]:
        """None."""
        return {}

    def record(self, found: Found) -> dict:
        """The picture and its regions, without their numbers."""
        height, width = found.labels.shape
        annotations = []
        for region, score in found.regions():
            encoded = self.library.encode(np.asfortranarray(region.whole((height, width))))
            outline = {"size": [height, width], "counts": encoded["counts"].decode()}
            if self.polygons:
                outline = [polygon(region).ravel().tolist()]
            rows, columns = region.mask.shape
            annotations.append(
                {
                    "category_id": _number(found.classes, region.label),
                    "segmentation": outline,
                    "area": int(region.mask.sum()),
                    "bbox": [region.left, region.top, columns, rows],
                    "iscrowd": 0,
                    "score": score,
                }
            )
        return {"image": {"file_name": found.file, "height": height, "width": width}, "annotations": annotations}

    def whole(self, classes: Classes, records: Iterable[dict]) -> dict[str, Iterator[bytes]]:
        """The one file, numbered from 1 on."""
        return {"annotations.json": _parts(classes, records)}


def _number(classes: Classes, label: int) -> int:
    return label if classes.background == 0 else label + 1


def _parts(classes: Classes, records: Iterable[dict]) -> Iterator[bytes]:
    names = [{"id": _number(classes, label), "name": classes.names[label]} for label in classes.things]
    yield f'{{"info": {json.dumps({"description": NOTE})},\n"categories": {json.dumps(names)},\n"images": ['.encode()
    for image, record in enumerate(records, 1):
        yield (",\n" * (image > 1) + json.dumps({"id": image, **record["image"]})).encode()
    yield b'],\n"annotations": ['
    number = 0
    for image, record in enumerate(records, 1):
        for annotation in record["annotations"]:
            number += 1
            numbers = {"id": number, "image_id": image}
            yield (",\n" * (number > 1) + json.dumps({**numbers, **annotation})).encode()
    yield b"]}\n"
