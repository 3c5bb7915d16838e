"""What happens beside the loop: a progress bar, and pictures or label files on request. None touches a score."""

import time
from pathlib import Path

import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tqdm import tqdm

from .drawing import side_by_side
from .labels import LabelRule, as_picture


@HOOKS.register_module()
class Progress(Hook):
    """A bar over the pictures; `seconds_per_image` is the wall time of the loop by picture, text bank aside."""

    def before_test_epoch(self, runner: Runner) -> None:
        sampler = runner.test_dataloader.sampler
        self.bar = tqdm(total=len(sampler), unit="picture", desc="pictures", disable=None if get_rank() == 0 else True)
        self.images, self.start = 0, time.perf_counter()

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        self.images += len(outputs)
        self.bar.update(len(outputs))

    def after_test_epoch(self, runner: Runner, metrics: dict) -> None:
        self.bar.close()
        self.seconds_per_image = (time.perf_counter() - self.start) / max(self.images, 1)


@HOOKS.register_module()
class SaveLabels(Hook):
    """Writes each predicted label map as PNG, with the values that the dataset's own label files use.

    Of 8 bits, or of 16 for a dataset with values beyond 255.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        meta = runner.test_dataloader.dataset.metainfo
        values = LabelRule.of(meta).values_of(np.arange(len(meta["classes"])))
        for sample in outputs:
            labels = values[sample.pred_sem_seg.data[0].cpu().numpy()]
            path = self.folder / name_of(runner, sample.img_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            as_picture(labels).save(path)


@HOOKS.register_module()
class DrawPictures(Hook):
    """Writes picture, prediction and label side by side, with a legend of the classes in them."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        meta = runner.test_dataloader.dataset.metainfo
        for sample, pixels in zip(outputs, data_batch["inputs"], strict=True):
            picture = pixels[[2, 1, 0]].permute(1, 2, 0).cpu().numpy()  # as the pipeline delivers it
            maps = [m.data[0].cpu().numpy() for m in (sample.pred_sem_seg, sample.gt_sem_seg)]
            path = self.folder / name_of(runner, sample.img_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            side_by_side(picture, *maps, meta["classes"], meta["palette"]).save(path)


def name_of(runner: Runner, picture: str) -> Path:
    """Where the output of a picture goes: its path below the dataset's picture folder, as .png."""
    folder = Path(runner.test_dataloader.dataset.data_prefix["img_path"])
    path = Path(picture)
    return (path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)).with_suffix(".png")
