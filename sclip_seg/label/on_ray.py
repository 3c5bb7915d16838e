"""Labelling on a Ray cluster: the same labeller as a stateful `map_batches` of Ray Data.

What goes in are portions of files, tar shards among them; each process of the cluster labels those that it is given
into the common folder, with a journal of its own. What was done by a process that has died is known from its journal,
and Ray gives the rest of its portion to another one.
"""

import argparse
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from ..bars import Bar
from ..errors import InputError
from ..evaluate.cluster import cluster
from ..files import clear_drafts
from .journal import PROGRESS, Journal
from .run import Labeller, finish, held, key_of
from .sources import Piece, pieces

PORTION = 64  # pictures that a process is given at a time; a shard is never parted


class Worker:
    """The labeller of one process of the cluster. What a user can mend becomes a row, and is told by who asked."""

    def __init__(self, options: dict, folder: str) -> None:
        os.chdir(folder)
        self.stack, self.fault = ExitStack(), ""
        try:
            labeller = Labeller(argparse.Namespace(**options))
            self.told = json.dumps(labeller.told)
            self.share = self.stack.enter_context(labeller.at_work(f"-{socket.gethostname()}-{os.getpid()}"))
        except InputError as error:
            self.fault = str(error)

    def __call__(self, batch: dict) -> dict:
        """Labels portions. How many pictures they have, and how many could not be read."""
        rows = [self.label(json.loads(text)) for text in batch["portion"]]
        return {key: [row[key] for row in rows] for key in rows[0]}

    def label(self, portion: list[dict]) -> dict:
        """One of them."""
        if self.fault:
            return {"fault": self.fault, "told": "", "pictures": 0, "bad": 0}
        files = [Piece(**piece) for piece in portion]
        bad = self.share.work(source for piece in files for source in piece.sources())
        return {"fault": "", "told": self.told, "pictures": sum(len(piece.names) for piece in files), "bad": bad}


def on_ray(options: argparse.Namespace) -> int:
    """All pictures, by the processes of a cluster. Exit status as of `main`."""
    files = list(pieces(options.places))
    stamps = {name: stamp for piece in files for name, stamp in zip(piece.names, piece.stamps, strict=True)}
    with cluster(options.address, with_data=True) as ray, held(options.out, "0"):
        clear_drafts(options.out.rglob(".*"))
        told, bad = shared_out(ray, options, list(portions(files)), len(stamps))
        journal = Journal(options.out / PROGRESS, key_of(told), "0")
        failures = [name for name, entry in journal.read().items() if name in stamps and not entry[1]]
        finish(told, options, journal, stamps)
    return 2 if bad or failures else 0


def portions(files: Sequence[Piece]) -> Iterator[list[dict]]:
    """Files of about as many pictures; one portion at least, which may be of none."""
    portion, held_by_it = [], 0
    for piece in files:
        portion.append(asdict(piece))
        held_by_it += len(piece.names)
        if held_by_it >= PORTION:
            yield portion
            portion, held_by_it = [], 0
    if portion or not files:
        yield portion


def shared_out(ray: object, options: argparse.Namespace, work: list[list[dict]], total: int) -> tuple[dict, int]:
    """What the labellers tell of themselves, and how many pictures could not be read. Raises InputError."""
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    rows = ray.data.from_items([{"portion": json.dumps(portion)} for portion in work], override_num_blocks=len(work))
    labelled = rows.map_batches(
        Worker,
        batch_size=1,
        fn_constructor_args=(vars(options), str(Path.cwd())),
        concurrency=min(options.jobs or gpus or cpus, len(work)),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    told, bad = "", 0
    with Bar(total=total, desc="label", unit="picture") as bar:
        for row in labelled.iter_rows():
            if row["fault"]:
                raise InputError(row["fault"])
            told, bad = row["told"], bad + row["bad"]
            bar.update(row["pictures"])
    return json.loads(told), bad
