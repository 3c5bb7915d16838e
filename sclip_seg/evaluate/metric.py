"""Pooled intersection over union, as the benchmarks count it, in integers."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from ..data.labels import IGNORE, LabelRule
from ..data.notes import keys_of, notes_on
from ..errors import InputError
from .relations import Fathers, Relations, excused, scores, taken_for_fathers


@METRICS.register_module()
class PooledIoU(BaseMetric):
    """mIoU, mAcc and aAcc in percent, over the counts of all pictures together.

    IoU_c = I_c / U_c; classes that occur neither in labels nor in predictions are left out of the means. This is
    mmseg's `IoUMetric`, counted in int64 (its float32 sums lose pixels beyond 2^24) and with the label maps checked.
    Where a dataset has `classes_of_interest`, the mean IoU of these too.

    Args:
        relations: a file of which class excuses which (`Relations.load`): SG-IoU as well, in no column with IoU.
        settings: of mmengine's metrics.
    Raises:
        InputError: a label beyond the classes, or a label map of another size than its picture.
    """

    default_prefix = ""

    def __init__(self, relations: str | None = None, **settings: object) -> None:
        super().__init__(**settings)
        self.relations = None if relations is None else Relations.load(relations)

    @cached_property
    def fathers(self) -> Fathers:
        """Of each class those that excuse it."""
        classes = self.dataset_meta["classes"]
        return [()] * len(classes) if self.relations is None else self.relations.of(classes)

    @property
    def shape(self) -> tuple[int, int]:
        """(3 + F, K), of a picture's counts."""
        return 3 + max(map(len, self.fathers)), len(self.fathers)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps the counts (3 + F, K) of each picture: intersection, predicted and labelled pixels of each class.

        F more rows are the pixels of a class that are called one of its fathers, at most F.
        """
        classes, rule = len(self.dataset_meta["classes"]), LabelRule.of(self.dataset_meta)
        for sample in data_samples:
            if "gt_sem_seg" not in sample:
                raise InputError("no step of the pipeline loads label maps, as LoadLabels does")
            label = sample["gt_sem_seg"]["data"].squeeze(0)
            prediction = sample["pred_sem_seg"]["data"].squeeze(0)
            if label.shape != prediction.shape:
                raise InputError(
                    f"the label map {sample['seg_map_path']} has {tuple(label.shape)} pixels (height, width) and its "
                    f"picture {sample['img_path']} {tuple(prediction.shape)}, as turned by EXIF if it says so"
                )
            counts = confusion(prediction, label.to(prediction.device), classes, rule.ignore)
            if counts is None:
                beyond = label[(label >= classes) & (label != rule.ignore)].min()
                value = int(rule.values_of(np.array([int(beyond)]))[0])
                raise InputError(rule.fault(sample["seg_map_path"], value, int((label == beyond).sum()), classes))
            counts = counts.cpu().numpy()
            by_class = counts.diagonal(), counts.sum(0), counts.sum(1), *taken_for_fathers(counts, self.fathers)
            self.results.append((sample["sample_idx"], np.stack(by_class)))

    def evaluate(self, size: int) -> dict[str, float]:
        """The means over the pictures of all ranks, each counted once; `size` is how many there must be."""
        shares = all_gather_object(self.results)
        self.results = []
        counts = {index: by_class for share in shares for index, by_class in share}
        if len(counts) != size:
            raise RuntimeError(f"{len(counts)} pictures were scored and the dataset has {size}")
        return self.compute_metrics(list(counts.values()))

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """The means, in percent, of the counts by picture; `per_class`, `images` and the rest are kept."""
        agreement, predicted, labelled, *others = np.sum(results, axis=0, dtype=np.int64)
        if not labelled.any():
            raise InputError(f"every pixel of the {len(results)} label maps is ignored: there is nothing to score")
        found = scores(agreement, agreement, predicted, labelled)
        self.images, self.predicted, self.labelled = len(results), predicted, labelled
        names = keys_of(self.dataset_meta["classes"])
        self.per_class = {
            name: {"iou": _number(i), "acc": _number(a)}
            for name, i, a in zip(names, found["iou"], found["accuracy"], strict=True)
        }
        if self.relations is not None:
            granted = agreement + excused(np.array(others), self.fathers, agreement, predicted)
            excusing = scores(granted, agreement, predicted, labelled)
            self.sg_iou = {
                "relations": self.relations.told,
                "mean": float(excusing["mean"]),
                "per_class": {name: _number(i) for name, i in zip(names, excusing["iou"], strict=True)},
            }
        means = {"mIoU": "mean", "mAcc": "mean_accuracy", "aAcc": "all_accuracy"}
        return {name: float(found[mean]) for name, mean in means.items()} | self._of_interest(found)

    def _of_interest(self, found: dict) -> dict[str, float]:
        """The mean IoU of the classes that the dataset singles out (MESS, arXiv 2306.15521: CoI-mIoU), if it does."""
        chosen = self.dataset_meta.get("classes_of_interest")
        if chosen is None or np.isnan(found["iou"][chosen]).all():
            return {}
        return {"CoI-mIoU": float(np.nanmean(found["iou"][chosen]))}

    def notes(self, pictures: Sequence[str], partial: bool) -> list[str]:
        """What cannot be meant, in sentences, after a score: of these pictures, of all or a part of a dataset."""
        return notes_on(self.dataset_meta, self.labelled, self.predicted, pictures, partial)

    def table(self) -> str:
        """Per-class IoU and accuracy as text; `-` for a class that occurs nowhere."""
        table = PrettyTable(["class", "IoU", "Acc"], align="r")
        table.align["class"] = "l"
        for name, row in self.per_class.items():
            table.add_row([name, *("-" if row[k] is None else f"{row[k]:.2f}" for k in ("iou", "acc"))])
        return table.get_string()


def confusion(prediction: Tensor, label: Tensor, classes: int, ignore: int = IGNORE) -> Tensor | None:
    """(K, K) int64 counts, label by row and prediction by column; None if a label lies beyond the classes.

    One bincount: ignored pixels go to a bin of their own, and labels beyond the classes to another.
    """
    label = label.long()
    beyond = classes * classes
    cell = torch.where(label < classes, label * classes + prediction, beyond + (label == ignore).long())
    counts = cell.flatten().bincount(minlength=beyond + 2)
    return None if counts[beyond] else counts[:beyond].view(classes, classes)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
