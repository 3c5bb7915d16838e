"""Sharing a run among processes, and going on with one that was stopped.

Each picture belongs to one rank, none twice, and its counts are integers: the sum is the same whatever the number of
ranks. Each rank appends the counts of every picture to a journal of its own; a run that goes on reads them all.
"""

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, broadcast_object_list, get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner
from torch.utils.data import Sampler

from .errors import InputError
from .result import short_hash, signature
from .segmentor import OpenVocabSegmentor
from .settings import Seed


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

    One file a rank, a line a picture: index, counts (3, K), checksum. A line that was cut off is not read. The first
    line names what the counts were measured with; counts of another configuration are refused.
    """

    priority = "HIGH"

    def __init__(self, folder: str, resume: bool = False) -> None:
        self.folder, self.resume = Path(folder), resume

    def before_test(self, runner: Runner) -> None:
        model = segmentor_of(runner)
        model.prepare()
        total = len(runner.test_dataloader.dataset)
        self.key = short_hash(signature(runner.cfg, model, total, total))
        rank, _ = get_dist_info()
        found = [self._start() if rank == 0 else None]
        broadcast_object_list(found)
        done: dict[int, np.ndarray] = found[0]
        runner.test_dataloader.sampler.done = frozenset(done)
        self.metric = runner.test_evaluator.metrics[0]
        if rank == 0:
            self.metric.results.extend(done.items())
        self.written = len(self.metric.results)
        self.file = (self.folder / f"rank{rank}.jsonl").open("a", encoding="utf-8")
        self._write({"key": self.key})

    def _start(self) -> dict[int, np.ndarray]:
        """What is done already; without `resume` the folder is emptied first."""
        if not self.resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        return read(self.folder, self.key)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        for index, counts in self.metric.results[self.written :]:
            self._write({"index": index, "counts": counts.tolist()})
        self.written = len(self.metric.results)

    def _write(self, record: dict) -> None:
        text = json.dumps(record, separators=(",", ":"))
        self.file.write(f"{zlib.crc32(text.encode()):08x} {text}\n")
        self.file.flush()

    def after_test_epoch(self, runner: Runner, metrics: dict) -> None:
        self.file.close()
        barrier()
        if get_dist_info()[0] == 0:
            shutil.rmtree(self.folder)


def segmentor_of(runner: Runner) -> OpenVocabSegmentor:
    """The segmentor itself, without the wrapper that several processes put around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def read(folder: Path, key: str) -> dict[int, np.ndarray]:
    """Counts (3, K) int64 by picture from all journals of `folder`.

    Raises:
        InputError: they were measured with something else than `key` stands for.
    """
    done = {}
    for path in sorted(folder.glob("rank*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            checksum, _, text = line.partition(" ")
            if checksum != f"{zlib.crc32(text.encode()):08x}":
                continue  # cut off when the run was stopped
            record = json.loads(text)
            if "key" not in record:
                done[record["index"]] = np.array(record["counts"], dtype=np.int64)
            elif record["key"] != key:
                raise InputError(
                    f"{folder} holds counts of a run with other settings, weights or data; "
                    "run without --resume to start anew"
                )
    return done
