"""The work of `sclip-seg label`: pictures in, labels out, shared among processes and gone on with."""

import argparse
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from mmengine.device import get_device

from ..bars import Bar
from ..errors import InputError
from ..evaluate.result import code_digest, short_hash, signature
from ..files import clear_drafts, write_atomically
from ..handed_in import existing
from ..picture.finding.finder import AUTO
from ..show.demo import failed, how_to_find, ready
from ..show.predictor import Prediction, Predictor
from .coco import NOTE
from .formats import format_of
from .found import Classes, Found, label_map
from .journal import PROGRESS, Journal, Kept
from .sources import Source, count, sources

DATASET = "dataset.json"
WRITING = ("format", "unsure", "min_region", "polygons", "scores", "copy")
AHEAD = 4  # pictures a worker that are decoded before their turn


def label(options: argparse.Namespace) -> int:
    """This process's share of the pictures, or all of them on a cluster. Exit status as of `main`."""
    check(options)
    if options.engine == "ray":
        from .on_ray import on_ray

        return on_ray(options)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if options.device is None and ranks > 1 and get_device() != "cpu":
        options.device = f"{get_device()}:{os.environ.get('LOCAL_RANK', rank)}"
    labeller = Labeller(options)
    with labeller.at_work(str(rank)) as share:
        if ranks == 1:
            clear_drafts(options.out.rglob(".*"))
        stamps: dict[str, str] = {}  # of all pictures, also of other processes
        whole = count(options.places) if rank == 0 else None  # the others show no bar
        total = None if whole is None else -(-whole // ranks)
        bad = share.work(dealt(options.places, stamps, rank, ranks), total)
        finish(labeller.told, options, share.journal, stamps)
    return 2 if bad else 0


def check(options: argparse.Namespace) -> None:
    """Raises InputError for what can be known wrong before weights are loaded."""
    format_of(options.format, options.polygons, options.scores)
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"--out {options.out} is a file")
    out = options.out.resolve()
    if any(existing(place).resolve() in (out, *out.parents) for place in options.places):
        raise InputError(f"--out {options.out} lies in what is labelled, and would be labelled too; choose another one")
    if options.engine != "ray" and (options.address or options.jobs):
        raise InputError("--address and --jobs go with --engine ray")
    next(sources(options.places), None)


def dealt(places: Sequence[str], stamps: dict[str, str], rank: int, ranks: int) -> Iterator[Source]:
    """Every so many-th picture; `stamps` is given those of all."""
    for index, source in enumerate(sources(places)):
        stamps[source.name] = source.stamp
        if index % ranks == rank:
            yield source


def ready_for_all(options: argparse.Namespace) -> Predictor:
    """The method with the words; of words that are to be found, those that the first process has found."""
    if options.classes != AUTO:
        return ready(options)
    kept = options.out / PROGRESS / "words.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.with_suffix(".lock")):
        how = [repr(how_to_find(options)), options.method, options.backbone, options.cfg_options, options.background]
        found = known_words(kept, short_hash(how))
        if found is None:
            segment = ready(options, pictures_of(options.places))
            found = {"asked": short_hash(how), "classes": segment.found.classes, **segment.found.plain()}
            write_atomically(kept, json.dumps(found))
    options.words_found = {key: found[key] for key in ("how", "words")}
    options.classes = found["classes"]
    return ready(options)


def known_words(path: Path, asked: str) -> dict | None:
    """What was found before, where the same was asked for."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("asked") == asked else None


def pictures_of(places: Sequence[str]) -> Iterator[np.ndarray]:
    """Those that can be read, one after the other."""
    for source in sources(places):
        with suppress(InputError):
            yield source.read()


class Labeller:
    """A method with its words, and what is written of what it finds.

    `told`: what whoever trains on the labels must know: who taught, which classes, how they are written.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.segment = segment = ready_for_all(options)
        background = segment.model.labelling.background
        self.classes = Classes(segment.classes, segment.palette, background)
        segment.model.prepare()
        self.told = {
            "signature": signature(segment.config, segment.model, 0, 0),
            "classes": list(self.classes.names),
            "queries": list(segment.model.vocabulary.queries),
            "palette": self.classes.palette,
            "background": background,
            "ignore": self.classes.ignore,
            "note": NOTE,
            **({"found": options.words_found} if getattr(options, "words_found", None) else {}),
            "written": {name: getattr(options, name) for name in WRITING},
        }

    @contextmanager
    def at_work(self, name: str) -> Iterator["Share"]:
        """What one process does, by its journal `name`. Raises InputError where another one has it."""
        with held(self.options.out, name):
            journal = Journal(self.options.out / PROGRESS, key_of(self.told), name)
            known = journal.read()
            journal.open()
            try:
                yield Share(self, journal, known)
            finally:
                journal.close()


def key_of(told: dict) -> str:
    """Of all that labels depend on beside the pictures."""
    return short_hash([told, code_digest()])


@contextmanager
def held(out: Path, name: str) -> Iterator[None]:
    """The folder, for one process of that name. Raises InputError where there is another one."""
    (out / PROGRESS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / PROGRESS / f"rank{name}.lock", timeout=0.5)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"another process writes labels into {out}; wait, or choose another --out") from error
    with lock:
        yield


class Share:
    """The pictures of one process, less those that are done."""

    def __init__(self, labeller: Labeller, journal: Journal, known: dict) -> None:
        self.labeller, self.journal, self.known = labeller, journal, known
        self.options, self.classes = labeller.options, labeller.classes
        self.form = format_of(self.options.format, self.options.polygons, self.options.scores)
        self.copies = self.options.copy or self.options.format == "yolo"

    def work(self, mine: Iterable[Source], total: int | None = None) -> int:
        """Labels what is left of these, `total` where that is known. How many pictures could not be read."""
        bad = 0
        read: deque[Source] = deque()
        hidden = self.journal.rank != "0"
        with Bar(total=total, desc="label", unit="picture", hidden=hidden) as bar:

            def pictures() -> Iterator[np.ndarray]:
                nonlocal bad
                for source, future in self.decoded(mine, bar):
                    try:
                        picture = future.result()
                    except InputError as error:
                        bad += 1
                        failed(str(error))
                        self.journal.add(source.name, source.stamp, failed=str(error))
                        bar.update()
                        continue
                    read.append(source)
                    yield picture

            for prediction in self.labeller.segment.stream(pictures()):
                self.write(read.popleft(), prediction)
                bar.update()
        return bad

    def decoded(self, mine: Iterable[Source], bar: Bar) -> Iterator[tuple[Source, Future]]:
        """Those that are left in order, decoded by workers some way ahead."""
        waiting: deque[tuple[Source, Future]] = deque()
        with ThreadPoolExecutor(self.options.workers) as pool:
            for source in mine:
                if self.known.get(source.name, ())[:2] == (source.stamp, True):
                    bar.update()
                    continue
                waiting.append((source, pool.submit(source.read)))
                if len(waiting) > AHEAD * self.options.workers:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()

    def write(self, source: Source, prediction: Prediction) -> None:
        """The files of a picture, and then that it is done."""
        options = self.options
        own, best = prediction.certainty
        labels = label_map(prediction.labels, best, self.classes, options.unsure, options.min_region)
        scores = prediction.scores if options.scores else None
        file, contents = source.origin, {}
        if self.copies:
            suffix, content = source.content()
            file = f"images/{source.name}{suffix}"
            contents[file] = content
        found = Found(source.name, file, labels, own, self.classes, scores)
        contents |= self.form.files(found)
        for place, content in contents.items():
            write_atomically(options.out / place, content)
        self.journal.add(source.name, source.stamp, record=self.form.record(found))


def finish(told: dict, options: argparse.Namespace, journal: Journal, stamps: dict[str, str]) -> None:
    """Once all processes have done all pictures: the files of the whole, by the one that is last."""
    out: Path = options.out
    classes = Classes(tuple(told["classes"]), told["palette"], told["background"])
    with FileLock(out / PROGRESS / "finish.lock"):
        known = journal.read()
        done = {name: known.get(name, (None, False)) for name in stamps}
        if any(entry[0] != stamps[name] for name, entry in done.items()):
            return
        good = [name for name in sorted(done) if done[name][1]]
        records = Kept([done[name][2:] for name in good])
        form = format_of(options.format, options.polygons, options.scores)
        for place, parts in form.whole(classes, records).items():
            write_atomically(out / place, parts)
        numbers = {"pictures": len(good), "unread": len(done) - len(good)}
        write_atomically(out / DATASET, json.dumps({**told, **numbers}, indent=2) + "\n")
    print(
        f"{len(good)} pictures are labelled in {out}" + f"; {len(done) - len(good)} not read" * (len(good) < len(done))
    )
