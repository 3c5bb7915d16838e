"""What happens beside the loop: a progress bar, a few label maps, and all of them or pictures on request.

None touches a score.
"""

import hashlib
import time
from pathlib import Path

import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from PIL import Image

from ..bars import Bar
from ..data.labels import LabelRule, as_picture
from ..drawing import side_by_side
from ..files import as_png, clear_drafts, write_atomically
from ..settings import Count


@HOOKS.register_module()
class Progress(Hook):
    """A bar over the pictures; `seconds_per_image` is the wall time of the loop by picture, text bank aside.

    It is None for a run that found every picture in its journal. Of several runs that go through the pictures together
    it is the time of them all, and one of them is not `quiet`.
    """

    quiet = False

    def before_test_epoch(self, runner: Runner) -> None:
        sampler, hidden = runner.test_dataloader.sampler, self.quiet or get_rank() != 0
        self.bar = Bar(total=len(sampler), unit="picture", desc="pictures", hidden=hidden)
        self.images, self.start = 0, time.perf_counter()

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        self.images += len(outputs)
        self.bar.update(len(outputs))

    def after_test_epoch(self, runner: Runner, metrics: dict) -> None:
        self.bar.close()
        seconds = time.perf_counter() - self.start
        self.seconds_per_image = seconds / self.images if self.images else None


class PictureFiles(Hook):
    """A PNG for each picture, under the picture's own name, whole or not there.

    `written` holds the digest of each file, by the picture's index, until the journal has noted it: with that line the
    picture is done, and whoever goes on with the run asks `holds` whether its file still is what was written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.written: dict[int, str] = {}

    def before_test(self, runner: Runner) -> None:
        if get_rank() == 0:
            clear_drafts(self.folder.rglob(".*"))

    def place(self, runner: Runner, picture: str) -> Path:
        """Where the file of a picture goes."""
        return self.folder / name_of(runner, picture)

    def write(self, runner: Runner, sample: SegDataSample, image: Image.Image) -> None:
        """Writes the file of a picture."""
        content = as_png(image)
        write_atomically(self.place(runner, sample.img_path), content)
        self.written[sample.sample_idx] = digest(content)

    def holds(self, runner: Runner, picture: str, written: str | None) -> bool:
        """Whether the file of a picture is the one with the digest `written`."""
        try:
            return written == digest(self.place(runner, picture).read_bytes())
        except OSError:
            return False


def digest(content: bytes) -> str:
    """Sixteen hex digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@HOOKS.register_module()
class SaveLabels(PictureFiles):
    """Writes each predicted label map with the values that the dataset's own label files use, of 8 bits or of 16."""

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        for sample in outputs:
            self.write(runner, sample, as_values(runner, sample))


@HOOKS.register_module()
class Samples(Hook):
    """Writes the label maps of the first few pictures, so that a report can show what every method made of them.

    They are no output that a run was asked for, and no journal knows them: a run that is refused leaves none, and one
    that goes on has those of its own pictures.
    """

    def __init__(self, folder: str, count: Count = 4) -> None:
        self.folder, self.count = Path(folder), count
        self.kept: dict[Path, bytes] = {}

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        for sample in outputs:
            if sample.sample_idx < self.count:
                name = name_of(runner, sample.img_path)
                self.kept[name] = as_png(as_values(runner, sample))

    def after_test(self, runner: Runner) -> None:
        for name, content in self.kept.items():
            write_atomically(self.folder / name, content)


@HOOKS.register_module()
class DrawPictures(PictureFiles):
    """Writes picture, prediction and label side by side, with a legend of the classes in them."""

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        meta = runner.test_dataloader.dataset.metainfo
        for sample, pixels in zip(outputs, data_batch["inputs"], strict=True):
            picture = pixels[[2, 1, 0]].permute(1, 2, 0).cpu().numpy()  # as the pipeline delivers it
            maps = [m.data[0].cpu().numpy() for m in (sample.pred_sem_seg, sample.gt_sem_seg)]
            self.write(runner, sample, side_by_side(picture, *maps, meta["classes"], meta["palette"]))


def as_values(runner: Runner, sample: SegDataSample) -> Image.Image:
    """The predicted label map with the values of the dataset's own label files."""
    meta = runner.test_dataloader.dataset.metainfo
    values = LabelRule.of(meta).values_of(np.arange(len(meta["classes"])))
    return as_picture(values[sample.pred_sem_seg.data[0].cpu().numpy()])


def name_of(runner: Runner, picture: str) -> Path:
    """Where the output of a picture goes: its path below the dataset's picture folder, as .png."""
    folder = Path(runner.test_dataloader.dataset.data_prefix["img_path"])
    path = Path(picture)
    return (path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)).with_suffix(".png")
