"""The digest of the data: what moves it, what does not, and what is kept beside them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from trees import BENCHMARKS, dataset_settings, make_tree

from sclip_seg.data import digest as data_digest
from sclip_seg.data.digest import KEPT, digest_of, file_hashes, picture_keys

DATASET = dict(type="FolderDataset", pictures="pictures", labels="labels", picture_suffix=".bmp", vocabulary=["a", "b"])


@pytest.fixture
def root(tmp_path):
    """A dataset of three pictures of 60 KB, uncompressed, so that an edit changes no size."""
    random = np.random.default_rng(0)
    root = tmp_path / "one" / "data"
    for folder in ("pictures/sub", "labels/sub"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        Image.fromarray(random.integers(0, 255, (100, 200, 3), np.uint8)).save(root / f"pictures/{name}.bmp")
        Image.fromarray(random.integers(0, 2, (100, 200), np.uint8)).save(root / f"labels/{name}.png", compress_level=0)
    return root


def of(root, **others):
    return digest_of({**DATASET, "data_root": str(root), **others})


def flip(path: Path, at: int) -> None:
    """Another byte there, the size and the time of modification as they were."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


CHANGES = {
    "a byte in the middle of a picture": lambda root: flip(root / "pictures/b.bmp", 30_000),
    "a byte in the middle of a label map": lambda root: flip(root / "labels/sub/c.png", 9_000),
    "a picture's name": lambda root: [
        (root / place / f"b{suffix}").rename(root / place / f"d{suffix}")
        for place, suffix in (("pictures", ".bmp"), ("labels", ".png"))
    ],
    "two label maps exchanged": lambda root: [
        (root / "labels/a.png").rename(root / "x"),
        (root / "labels/b.png").rename(root / "labels/a.png"),
        (root / "x").rename(root / "labels/b.png"),
    ],
    "a picture less": lambda root: [(root / "pictures/a.bmp").unlink(), (root / "labels/a.png").unlink()],
    "a picture that cannot be read": lambda root: [
        (root / "pictures/a.bmp").unlink(),
        (root / "pictures/a.bmp").mkdir(),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("worth", [0, 1e9], ids=["kept", "not kept"])
def test_moves_with(change, worth, root, monkeypatch):
    monkeypatch.setattr(data_digest, "WORTH", worth)
    monkeypatch.setattr(data_digest, "SETTLED", -(10**18))  # so that even a file of this moment is kept
    before = of(root)
    assert (root / KEPT).exists() == (not worth)
    assert of(root) == before
    CHANGES[change](root)
    assert of(root) != before


@pytest.mark.parametrize("rule", [{"reduce_zero_label": True}, {"indices": 2}])
def test_moves_with_the_rule_and_the_pictures_chosen(rule, root):
    assert of(root, **rule) != of(root)


def test_moves_with_the_classes_of_choice(tmp_path):
    make_tree("ade20k", tmp_path)
    dataset, _ = dataset_settings("ade20k", tmp_path)
    found = {digest_of({**dataset, "metainfo": {"classes": names}}) for names in (["sky"], ["floor"], ["sky", "floor"])}
    assert len({digest_of(dataset), *found}) == 4


def test_does_not_move_with_place_time_or_order(root, tmp_path):
    before = of(root)
    copy = tmp_path / "another place" / "x"
    shutil.copytree(root, copy)
    for path in copy.rglob("*.*"):
        os.utime(path, (1, 1))
    assert of(copy) == before
    for name, names in (("up", "a\nb\nsub/c\n"), ("down", "sub/c\nb\na\n")):
        (root / f"{name}.txt").write_text(names)
        assert of(root, ann_file=f"{name}.txt") == before
    (root / "less.txt").write_text("b\na\n")
    assert of(root, ann_file="less.txt") == of(root, indices=2) != before


def test_only_what_a_run_reads_enters(root):
    (root / "list.txt").write_text("a\n")
    before = of(root, ann_file="list.txt")
    flip(root / "pictures/b.bmp", 30_000)
    (root / "labels/notes.txt").write_text("x")
    assert of(root, ann_file="list.txt") == before


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_one(name, tmp_path):
    make_tree(name, tmp_path)
    dataset, _ = dataset_settings(name, tmp_path)
    built = DATASETS.build(dict(dataset))
    keys = picture_keys(built)
    assert len({*keys}) == len(keys) == 3
    assert digest_of(dataset) == data_digest.data_digest(built, keys[::-1])


def test_what_is_kept_is_read_and_verify_does_not_believe_it(root, monkeypatch):
    monkeypatch.setattr(data_digest, "WORTH", 0)
    monkeypatch.setattr(data_digest, "SETTLED", -(10**18))
    before = of(root)
    read = []
    real = data_digest._hash_of_file
    monkeypatch.setattr(data_digest, "_hash_of_file", lambda path: read.append(path) or real(path))
    assert of(root) == before
    assert not read
    kept = json.loads((root / KEPT).read_text())["files"]
    forged = {name: [*entry[:3], "0" * 32] for name, entry in kept.items()}
    (root / KEPT).write_text(json.dumps({"files": forged}))
    assert digest_of({**DATASET, "data_root": str(root)}, believe=False) == before
    assert len(read) == 6


def test_what_was_written_a_moment_ago_is_not_kept(root, monkeypatch):
    monkeypatch.setattr(data_digest, "WORTH", 0)
    of(root)
    assert json.loads((root / KEPT).read_text())["files"] == {}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": 3}', '{"files": {"pictures/a.bmp": [1, 2]}}', "[" * 9999, '{"files": [1]}', "\x00"]
)
def test_odd_content_of_the_kept_file_is_nothing(content, root):
    before = of(root)
    (root / KEPT).write_text(content)
    assert of(root) == before


def test_a_folder_that_cannot_be_written_is_done_without(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = of(root)
    monkeypatch.setattr(data_digest, "WORTH", 0)
    monkeypatch.setattr(data_digest, "write_atomically", full)
    assert of(root) == before
    assert file_hashes(["/nowhere/x", "\0"], root) == {"/nowhere/x": "unreadable", "\0": "unreadable"}
