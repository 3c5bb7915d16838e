"""Fetching a file from a server that breaks off, lies, refuses, or serves something else."""

import hashlib
import socket

import numpy as np
import pytest
from odd_server import Site, serve

from sclip_seg.data.prepare import transfer
from sclip_seg.data.prepare.transfer import fetch
from sclip_seg.errors import InputError

CONTENT = np.random.default_rng(0).bytes(30_000)
SHA1 = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"


@pytest.fixture
def site():
    with serve(Site({"big.zip": CONTENT})) as site:
        yield site


def get(site, target, checksum="", attempts=3):
    fetch(site.url("big.zip"), target, checksum, attempts, pause=0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", ["", SHA1, f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_whole_file(site, tmp_path, checksum):
    get(site, tmp_path / "deep" / "big.zip", checksum)
    assert (tmp_path / "deep" / "big.zip").read_bytes() == CONTENT
    assert names(tmp_path / "deep") == ["big.zip"]
    assert site.asked == [None]


@pytest.mark.parametrize("tag", ["", '"v1"', 'W/"v1"'])
def test_goes_on_where_it_broke_off(site, tmp_path, tag):
    site.breaks_after, site.tag = 7000, tag
    get(site, tmp_path / "big.zip", SHA1)
    assert (tmp_path / "big.zip").read_bytes() == CONTENT
    assert site.asked == [None, *(f"bytes={start}-" for start in (7000, 14000, 21000, 28000))]


def test_a_later_run_goes_on(site, tmp_path):
    site.breaks_after, site.status = 7000, [200, 503, 503, 503]
    with pytest.raises(InputError, match=r"in 3 attempts: the server answers 503.*again"):
        get(site, tmp_path / "big.zip")
    assert names(tmp_path) == ["big.zip.part"]
    site.breaks_after, site.asked = None, []
    get(site, tmp_path / "big.zip", SHA1)
    assert (tmp_path / "big.zip").read_bytes() == CONTENT
    assert site.asked == ["bytes=7000-"]


def test_begins_anew_where_ranges_are_ignored(site, tmp_path):
    site.takes_ranges, site.breaks_after, site.breaks = False, 7000, 1
    get(site, tmp_path / "big.zip")
    assert (tmp_path / "big.zip").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=7000-"]


def test_gives_up_where_nothing_new_comes(site, tmp_path):
    site.takes_ranges, site.breaks_after = False, 7000
    with pytest.raises(InputError, match="ended at 7000 of 30000 bytes"):
        get(site, tmp_path / "big.zip")
    assert len(site.asked) == 4
    assert not (tmp_path / "big.zip").exists()


def test_begins_anew_where_the_file_has_changed(site, tmp_path):
    site.breaks_after, site.status, site.tag = 7000, [200, 503, 503, 503], '"v1"'
    with pytest.raises(InputError):
        get(site, tmp_path / "big.zip")
    site.files["big.zip"] = other = CONTENT[::-1]
    site.tag, site.breaks_after = '"v2"', None
    get(site, tmp_path / "big.zip")
    assert (tmp_path / "big.zip").read_bytes() == other


def test_a_complete_part_is_taken(site, tmp_path):
    (tmp_path / "big.zip.part").write_bytes(CONTENT)
    get(site, tmp_path / "big.zip", SHA1)
    assert names(tmp_path) == ["big.zip"]


def test_a_part_that_is_too_long_is_thrown_away(site, tmp_path):
    (tmp_path / "big.zip.part").write_bytes(CONTENT + b"more")
    get(site, tmp_path / "big.zip")
    assert (tmp_path / "big.zip").read_bytes() == CONTENT


def test_another_range_than_was_asked_for(site, tmp_path):
    (tmp_path / "big.zip.part").write_bytes(CONTENT[:100])
    site.sends_from = 50
    get(site, tmp_path / "big.zip", SHA1)
    assert site.asked == ["bytes=100-", None]
    assert (tmp_path / "big.zip").read_bytes() == CONTENT


def test_more_announced_than_sent(site, tmp_path):
    site.claims, site.takes_ranges = 40_000, False
    with pytest.raises(InputError, match="ended at 30000 of 40000 bytes"):
        get(site, tmp_path / "big.zip")
    assert not (tmp_path / "big.zip").exists()


def test_less_announced_than_sent(site, tmp_path):
    site.claims = 20_000
    with pytest.raises(InputError, match=r"has the sha1 .* thrown away"):
        get(site, tmp_path / "big.zip", SHA1)
    assert names(tmp_path) == []


def test_garbage_of_the_same_length(site, tmp_path):
    site.files["big.zip"], site.tag = b"<html>" + CONTENT[6:], '"v1"'
    with pytest.raises(InputError, match=r"has the sha1 .* thrown away"):
        get(site, tmp_path / "big.zip", SHA1)
    assert names(tmp_path) == []
    site.files["big.zip"] = CONTENT
    get(site, tmp_path / "big.zip", SHA1)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(site, tmp_path, status):
    site.status = [status]
    with pytest.raises(InputError, match=f"{site.address}/some/folder/big.zip: the server answers {status}"):
        get(site, tmp_path / "big.zip")
    assert len(site.asked) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.status = [503, 429]
    get(site, tmp_path / "big.zip", SHA1)
    assert (tmp_path / "big.zip").read_bytes() == CONTENT


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"in 2 attempts: .*refused"):
        fetch(f"http://127.0.0.1:{port}/x.zip", tmp_path / "x.zip", attempts=2, pause=0)


def test_space_is_asked_for_first(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 20_000}))
    with pytest.raises(InputError, match=r"needs 0.0 MB, .* has 0.0 MB free"):
        get(site, tmp_path / "big.zip")
    assert not (tmp_path / "big.zip.part").exists()
