"""Sharing a run among processes, and going on with one that was stopped.

Each picture belongs to one rank, none twice, and its counts are integers: the sum is the same whatever the number of
ranks. Each rank appends the counts of every picture to a journal of its own; a run that goes on reads them all, and
measures again what has changed since.
"""

import json
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from warnings import warn

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, broadcast_object_list, get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner
from torch.utils.data import Sampler

from ..data.digest import data_digest, is_touched, picture_keys
from ..errors import InputError
from ..files import clear_drafts, write_atomically
from ..picture.segmentor import OpenVocabSegmentor
from ..settings import Seed
from .hooks import PictureFiles
from .result import settings_of_counts, short_hash

LINE = re.compile(rb"^[0-9a-f]{8} \{", re.MULTILINE)  # what a line of a journal begins with
CONFIG = "config.py"


@DATA_SAMPLERS.register_module()
class Disjoint(Sampler):
    """Every picture that is not `done` once, dealt out to the ranks in turn; shares may differ by one."""

    def __init__(self, dataset: BaseDataset, seed: Seed | None = None) -> None:
        self.total = len(dataset)
        self.rank, self.ranks = get_dist_info()
        self.done: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[int]:
        remaining = [index for index in range(self.total) if index not in self.done]
        return iter(remaining[self.rank :: self.ranks])

    def __len__(self) -> int:
        remaining = self.total - len(self.done)
        return (remaining - self.rank + self.ranks - 1) // self.ranks


@HOOKS.register_module()
class Journal(Hook):
    """Keeps the counts of each scored picture on disk, and with `resume` starts from those that are there.

    One file a rank, a line a picture, each with a checksum: the metric's counts, the key of all settings that they were
    measured with (`settings_of_counts`), the key of the picture's own two files, and the digests of what was written
    for it (`PictureFiles`). Counts of other settings are refused; a picture is measured again when its files have
    changed, or when what was written for it is not there. The resolved config lies beside, until `forget`.
    """

    priority = "LOW"  # a picture is done when its files are written

    def __init__(self, folder: str, resume: bool = False) -> None:
        self.folder, self.resume = Path(folder), resume

    def before_test(self, runner: Runner) -> None:
        model = segmentor_of(runner)
        model.prepare()
        self.outputs = {type(hook).__name__: hook for hook in runner.hooks if isinstance(hook, PictureFiles)}
        self.metric = runner.test_evaluator.metrics[0]
        rank, ranks = get_dist_info()
        shared = [self._start(runner, model, ranks) if rank == 0 else None]
        broadcast_object_list(shared)
        self.key, self.pictures, done = shared[0]
        runner.test_dataloader.sampler.done = frozenset(done)
        if rank == 0:
            self.metric.results.extend(done.items())
        self.written = len(self.metric.results)
        self.file = _opened(self.folder / f"rank{rank}.jsonl", line_of({"key": self.key}))
        if rank == 0:  # after the first journal, by which the folder is known as ours
            write_atomically(self.folder / CONFIG, runner.cfg.pretty_text)

    def _start(self, runner: Runner, model: OpenVocabSegmentor, ranks: int) -> tuple[str, list[str], dict]:
        """The settings' key, the pictures' keys, and what is done already; without `resume` the folder is emptied."""
        dataset = runner.test_dataloader.dataset
        key = short_hash(settings_of_counts(runner.cfg, model, dataset))
        self.began = time.time_ns()
        pictures = picture_keys(dataset)
        check_own(self.folder, ranks)
        if not self.resume:
            forget(self.folder)

        def is_whole(index: int, files: dict) -> bool:
            path = dataset.get_data_info(index)["img_path"]
            return all(hook.holds(runner, path, files.get(name)) for name, hook in self.outputs.items())

        rows, classes = self.metric.shape
        return key, pictures, read(self.folder, key, pictures, classes, is_whole if self.outputs else None, rows)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        for index, counts in self.metric.results[self.written :]:
            files = {name: hook.written.pop(index) for name, hook in self.outputs.items()}
            picture = {"picture": self.pictures[index], "counts": counts.tolist(), "files": files}
            _append(self.file, line_of({"index": index, "key": self.key, **picture}))
        self.written = len(self.metric.results)

    def after_test_epoch(self, runner: Runner, metrics: dict) -> None:
        self.file.close()
        barrier()

    def digest(self, runner: Runner, skipped: Sequence[int] = ()) -> str:
        """Of the data that were scored: all but the pictures of these indices. On the first rank.

        Raises InputError where they have changed while the run was at work; its journal knows what to measure again.
        """
        dataset, without = runner.test_dataloader.dataset, frozenset(skipped)
        if is_touched(dataset, self.began):
            pairs = enumerate(zip(self.pictures, picture_keys(dataset), strict=True))
            changed = [index for index, (then, now) in pairs if then != now and index not in without]
            if changed:
                path = dataset.get_data_info(changed[0])["img_path"]
                raise InputError(
                    f"{len(changed)} of the pictures or their label maps have changed while the run was at work, "
                    f"{path} among them: --resume measures them again, and keeps the others"
                )
        return data_digest(dataset, (key for index, key in enumerate(self.pictures) if index not in without))


def segmentor_of(runner: Runner) -> OpenVocabSegmentor:
    """The segmentor itself, without the wrapper that several processes put around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def read(
    folder: Path,
    key: str,
    pictures: Sequence[str],
    classes: int,
    is_whole: Callable[[int, dict], bool] | None = None,
    rows: int = 3,
) -> dict[int, np.ndarray]:
    """Counts (rows, K) int64 by picture from all journals of `folder`, of those pictures that still have their key.

    A journal whose first line is damaged is not believed, and deleted.
    `is_whole`: asked for a picture's index and the digests of its files, whether they are still there.

    Raises:
        InputError: they were measured with other settings than `key` stands for.
    """
    places = defaultdict(list)
    for index, picture in enumerate(pictures):
        places[picture].append(index)
    done = {}
    for path in journals(folder):
        header, *records = [record_of(line) for line in path.read_text("utf-8", errors="replace").split("\n")]
        if header is None or "index" in header:
            warn(f"the journal {path} is damaged; its pictures are measured again", UserWarning, stacklevel=2)
            path.unlink()
            continue
        for record in filter(None, [header, *records]):  # those that were cut off when the run was stopped are None
            if record.get("key") != key:
                raise InputError(
                    f"{folder} holds counts of a run with other settings, weights, code or versions; "
                    "run without --resume to start anew"
                )
            for index in places.get(record.get("picture"), ()):
                counts = np.array(record["counts"], dtype=np.int64)
                if counts.shape == (rows, classes) and (is_whole is None or is_whole(index, record["files"])):
                    done[index] = counts
    return done


def line_of(record: dict) -> bytes:
    """A line of a journal: a checksum, and the record as JSON."""
    text = json.dumps(record, separators=(",", ":")).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def record_of(line: str) -> dict | None:
    """What a line of a journal says; None where it is damaged or cut off."""
    checksum, _, text = line.partition(" ")
    if checksum != f"{zlib.crc32(text.encode()):08x}" or not text.startswith("{"):
        return None
    return json.loads(text)


def journals(folder: Path) -> list[Path]:
    """The journals in a folder, the files that are none left out."""
    return [path for path in sorted(folder.glob("rank*.jsonl")) if path.is_file() and LINE.search(path.read_bytes())]


def check_own(folder: Path, ranks: int) -> None:
    """Raises InputError where a file in the folder of the journals is somebody else's and would be overwritten."""
    ours = journals(folder)
    names = [f"rank{rank}.jsonl" for rank in range(ranks)] + ([] if ours else [CONFIG])
    for path in (folder / name for name in names):
        if path.exists() and path not in ours:
            raise InputError(f"{path} is of no run: move it elsewhere, or choose another --work-dir")


def forget(folder: Path) -> None:
    """Deletes the journals in a folder and what belongs to them, and the folder if nothing else is in it."""
    clear_drafts([*folder.glob(".rank*"), *folder.glob(f".{CONFIG}.*")])
    ours = journals(folder)
    if ours:
        (folder / CONFIG).unlink(missing_ok=True)  # before the journals, by which it is known as ours
    for path in ours:
        path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _opened(path: Path, first: bytes) -> FileIO:
    """A journal to append to, which begins with the line `first` if it is new."""
    if not path.exists():
        write_atomically(path, first)
    file = path.open("ab", buffering=0)  # a line that cannot be written is not tried again at the end
    if not path.read_bytes().endswith(b"\n"):
        _append(file, b"\n")  # ends a line that was cut off
    return file


def _append(file: FileIO, line: bytes) -> None:
    while line:
        line = line[file.write(line) :]
