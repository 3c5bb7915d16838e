"""Label maps: from the values of a file to classes."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from .errors import InputError
from .files import reason_of
from .settings import Range

IGNORE = 255
LabelValue = Annotated[int, Range(0, 65535)]


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """A label map as (H, W) uint8 through pillow, which does not turn it as EXIF says.

    The dataset says by `reduce_zero_label` whether 0 is ignored and c stands for class c - 1. mmseg's own step casts
    to 8 bits unseen, so that a label 300 becomes 44; here it is an error. Pictures of mmseg's inferencer have none.
    """

    def transform(self, results: dict) -> dict:
        if "seg_map_path" not in results:
            return results
        path = results["seg_map_path"]
        labels = self.read(path)
        if results.get("label_map"):
            labels = np.vectorize(lambda c: results["label_map"].get(c, c), otypes=[np.uint8])(labels)
        if results["reduce_zero_label"]:
            labels = without_zero(labels)
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results

    @staticmethod
    def read(path: str) -> np.ndarray:
        """The stored values (H, W) uint8."""
        try:
            with Image.open(path) as file:
                labels = np.asarray(file)
        except Exception as error:
            raise InputError(f"the label map {path} cannot be read: {reason_of(error, path)}") from error
        if labels.ndim != 2:
            raise InputError(f"the label map {path} is a colour picture; each pixel must be one class number")
        if labels.dtype != np.uint8:
            if labels.min() < 0 or labels.max() > IGNORE:
                raise InputError(f"the label map {path} has values from {labels.min()} to {labels.max()}; 0 to 255 fit")
            labels = labels.astype(np.uint8)
        return labels


def without_zero(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) uint8 in which c stood for class c - 1, as classes; 0 and the ignored 255 both end as 255."""
    return np.where((labels == 0) | (labels == IGNORE), IGNORE, labels - 1).astype(np.uint8)


@TRANSFORMS.register_module()
class Relabel(BaseTransform):
    """Other numbers for some label values, as another protocol counts them.

    Args:
        mapping: pairs (value, new value).
        empty: a map with these values only is ignored as a whole, which is asked before the mapping.
    """

    def __init__(self, mapping: Sequence[tuple[LabelValue, LabelValue]] = (), empty: Sequence[LabelValue] = ()) -> None:
        self.table = np.arange(IGNORE + 1, dtype=np.uint8)
        for value, new in mapping:
            self.table[value] = new
        self.empty = tuple(empty)

    def transform(self, results: dict) -> dict:
        labels = results["gt_seg_map"]
        nothing = np.isin(labels, self.empty).all()
        results["gt_seg_map"] = np.full_like(labels, IGNORE) if nothing else self.table[labels]
        return results
