"""Which data a score was measured on: a digest over every picture and label map that a run reads.

It covers names (below the folders of pictures and labels), every byte of both files, and what the values of label maps
stand for: `label_map`, `reduce_zero_label` and `ignore_index`. It covers neither order nor place nor times: a copy of
the data elsewhere has the same digest, and a label map mended since has another one. A file that cannot be read counts
as unreadable.

Reading five thousand pictures takes seconds, on a slow disk some ten. What took longer than a moment is kept beside
the data, in a hidden file of the dataset's root: the hash of each file, believed while size and both times of the
file are what they were. Where the folder cannot be written, it is done without. `sclip-seg prepare verify` believes
nothing and reads every file again.
"""

import hashlib
import json
import os
import time
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..bars import Bar
from ..files import write_atomically

KEPT = ".sclip_seg_digests.json"
WORTH = 1.0  # seconds of reading that are worth a file
SETTLED = 2 * 10**9  # nanoseconds: what was written later could be written again within a tick of the clock
THREADS, BLOCK = 8, 1 << 20
UNREADABLE = "unreadable"


def label_rule(dataset: BaseSegDataset) -> dict[str, object]:
    """What turns the values of label maps into classes, as plain data."""
    return {name: getattr(dataset, name, None) for name in ("label_map", "reduce_zero_label", "ignore_index")}


def picture_keys(dataset: BaseSegDataset, believe: bool = True) -> list[str]:
    """16 hex digits for each picture of a dataset, in its order: names and bytes of its two files.

    `believe`: what is kept beside the data is taken for files that have not changed since.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    prefix = dataset.data_prefix
    pairs = [
        [(info[key], _name(info[key], prefix.get(key))) for key in ("img_path", "seg_map_path") if info.get(key)]
        for info in infos
    ]
    root = Path(dataset.data_root or prefix.get("img_path") or ".")
    hashes = file_hashes((path for pair in pairs for path, _ in pair), root, believe)
    return [_hash([[name, hashes[path]] for path, name in pair], 8) for pair in pairs]


def is_touched(dataset: BaseSegDataset, since: int) -> bool:
    """Whether a file of the dataset has been written or put in place since then (nanoseconds as of `time.time_ns`)."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    states = (_state(info[key]) for info in infos for key in ("img_path", "seg_map_path") if info.get(key))
    return any(state is None or max(state[1:]) > since for state in states)


def data_digest(dataset: BaseSegDataset, keys: Iterable[str]) -> str:
    """Twelve hex digits over the label rule and the `picture_keys` of those pictures that are scored, in any order."""
    return _hash([label_rule(dataset), sorted(keys)], 6)


def digest_of(config: dict, believe: bool = True) -> str:
    """The digest of a dataset config `dict(type=..., data_root=..., indices=...)`; `believe` as in `picture_keys`."""
    init_default_scope("mmseg")
    dataset = DATASETS.build({**config, "pipeline": [], "test_mode": True, "lazy_init": False})
    return data_digest(dataset, picture_keys(dataset, believe))


def file_hashes(paths: Iterable[str], root: Path, believe: bool = True) -> dict[str, str]:
    """A hash of each file's content by path, read or taken from what is kept in `root`."""
    start, began = time.time_ns(), time.monotonic()
    states = {path: _state(path) for path in paths}
    names = {path: os.path.relpath(path, root) if _same_drive(path, root) else path for path in states}
    kept = _read_kept(root / KEPT)
    hashes = {}
    if believe:
        known = {path: kept[name] for path, name in names.items() if name in kept}
        hashes = {path: entry[-1] for path, entry in known.items() if entry[:-1] == states[path]}
    new = [path for path in states if path not in hashes]
    with (
        ThreadPoolExecutor(THREADS) as pool,
        Bar(total=len(new), desc="data", unit="file", leave=False) as bar,
    ):
        for path, found in zip(new, pool.map(_hash_of_file, new), strict=True):
            hashes[path] = found
            bar.update()
    if time.monotonic() - began > WORTH:
        whole = [path for path in new if states[path] and hashes[path] != UNREADABLE]
        fresh = {names[path]: [*states[path], hashes[path]] for path in whole if _is_settled(states[path], start)}
        with suppress(OSError):
            write_atomically(root / KEPT, json.dumps({"files": kept | fresh}, separators=(",", ":")))
    return hashes


def _is_settled(state: list[int], now: int) -> bool:
    return max(state[1:]) < now - SETTLED


def _state(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _hash_of_file(path: str) -> str:
    total = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                total.update(block)
    except (OSError, ValueError):  # a name that no system has
        return UNREADABLE
    return total.hexdigest()


def _read_kept(path: Path) -> dict[str, list]:
    """`{name: [size, modified, changed, hash]}`; whatever is odd is left out."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: entry for name, entry in files.items() if _is_entry(entry)}
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return {}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, list) and [type(value) for value in entry] == [int, int, int, str]


def _same_drive(path: str, root: Path) -> bool:
    return os.path.splitdrive(os.path.abspath(path))[0] == os.path.splitdrive(os.path.abspath(root))[0]


def _name(path: str, folder: str | None) -> str:
    """The path below its folder; the same name whichever Unicode form a file system keeps it in."""
    below = Path(path)
    below = below.relative_to(folder) if folder and below.is_relative_to(folder) else Path(below.name)
    return unicodedata.normalize("NFC", below.as_posix())


def _hash(content: object, size: int) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=size).hexdigest()
