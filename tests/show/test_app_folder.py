"""What lies on disk for the page: how much, how long, and what is left of a page that was killed."""

import os
import sys
import time

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.show.app import folder as places
from sclip_seg.show.app.folder import LEAST, Uploads, own_folder


def fill(folder, sizes, now):
    """Finished uploads, each a second younger than the one before."""
    paths = []
    for index, size in enumerate(sizes):
        path = folder / f"{index:03}" / "picture.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (now, now - len(sizes) + index))
        paths.append(path)
    return paths


@given(st.lists(st.integers(0, 3 * LEAST), max_size=12), st.integers(0, 4 * LEAST))
def test_the_sum_is_kept_and_the_oldest_go_first(tmp_path_factory, sizes, coming):
    folder = tmp_path_factory.mktemp("uploads")
    paths = fill(folder, sizes, time.time())
    uploads = Uploads(folder, total=8 * LEAST)
    assert uploads.announce(coming)
    left = [path.exists() for path in paths]
    assert left == sorted(left), "an older one is left, and a younger one gone"
    cost = [max(size, LEAST) for size in sizes]
    assert sum(c for c, is_left in zip(cost, left, strict=True) if is_left) + coming <= uploads.total
    if False in left:  # not more than needed
        first = left.index(True) if True in left else len(left)
        assert sum(cost[first - 1 :]) + coming > uploads.total


def test_what_is_kept_stays_and_what_is_unused_ends(tmp_path):
    (example,) = fill(tmp_path, [9], time.time() - 9999)
    uploads = Uploads(tmp_path, total=3 * LEAST, age=100)
    uploads.keep()
    old, new = fill(tmp_path / "more", [9, 9], time.time())
    os.utime(old, (0, time.time() - 101))
    uploads.sweep()
    assert [path.exists() for path in (example, old, new)] == [True, False, True]
    assert not uploads.announce(4 * LEAST)
    assert example.exists()


def test_drafts_that_were_broken_off_count_and_end(tmp_path):
    """gradio leaves what a browser stopped to send."""
    draft = tmp_path / "tmpabc"
    draft.write_bytes(b"x" * 2 * LEAST)
    uploads = Uploads(tmp_path, total=3 * LEAST)
    assert not uploads.announce(2 * LEAST), "it may still be written"
    os.utime(draft, (0, time.time() - places.STALLED - 1))
    assert uploads.announce(2 * LEAST)
    assert not draft.exists()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(places.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_ends_with_the_page(temporary):
    def serve():
        with own_folder() as folder:
            (folder / "uploads").mkdir()
            (folder / "uploads/x.png").touch()
            assert folder.parent == temporary
            sys.exit(0)

    with pytest.raises(SystemExit):
        serve()
    assert not list(temporary.iterdir())


def test_only_abandoned_folders_of_ours_are_cleared(temporary):
    abandoned = temporary / "sclip_seg-dead"
    strangers = [temporary / "sclip_seg-nolock", temporary / "other", temporary / "sclip_seg-file"]
    for place in (abandoned, *strangers[:2]):
        (place / "uploads").mkdir(parents=True)
    (abandoned / places.LOCK).touch()
    (strangers[1] / places.LOCK).touch()
    strangers[2].touch()
    target = temporary / "precious"
    target.mkdir()
    (target / places.LOCK).touch()
    link = temporary / "sclip_seg-link"
    link.symlink_to(target)
    with own_folder() as living:
        assert not abandoned.exists()
        places.clear_abandoned()
        assert living.is_dir(), "its page is served"
        assert all(place.exists() for place in (*strangers, target, link))
    with FileLock(target / places.LOCK, timeout=0):
        pass
