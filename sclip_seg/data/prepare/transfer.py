"""One file fetched over HTTP: taken up where it broke off, of the size that was announced, whole or not at all."""

import errno
import hashlib
import os
import re
import shutil
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ...bars import Bar
from ...errors import InputError

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
PASSING = (408, 425, 429)  # and everything from 500 on: worth another attempt


def fetch(url: str, target: Path, checksum: str = "", attempts: int = 5, pause: float = 2.0) -> None:
    """Writes `target` by way of `target`.part, which a later call goes on with.

    Args:
        checksum: `md5:HEX` or `sha1:HEX`, or "" for none.
        attempts: how many may bring nothing new before it is given up.
        pause: seconds before the second attempt; doubled for each that follows.

    Raises:
        InputError: no answer, a refusal, fewer bytes than announced, too little space, another checksum.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    most, idle = _size(part), 0
    while True:
        total, reason = None, ""
        try:
            total = _receive(url, part)
        except HTTPError as error:
            if error.code < 500 and error.code not in PASSING:
                raise InputError(f"{url}: the server answers {error.code} {error.reason}") from error
            reason = f"the server answers {error.code} {error.reason}"
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise InputError(f"the disk of {target.parent} is full; {part} is kept and gone on with") from error
            reason = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
        size = _size(part)
        if not reason and total in (None, size):
            break
        reason = reason or f"it ended at {size} of {total} bytes"
        idle, most = (0, size) if size > most else (idle + 1, most)
        if idle >= attempts:
            raise InputError(f"{url} could not be fetched in {attempts} attempts: {reason}; run it again to go on")
        time.sleep(pause * 2**idle)
    _check(part, url, checksum)
    _tag_of(part).unlink(missing_ok=True)
    os.replace(part, target)


def _receive(url: str, part: Path) -> int | None:
    """Appends what the server still has, or begins anew where it cannot go on; the announced size of the whole."""
    have, tag = _size(part), _tag_of(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "sclip_seg"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():
            headers["If-Range"] = tag.read_text()  # another file by now: the server sends the whole of it
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if error.code != 416 or not have:
            raise
        if whole and int(whole[1]) == have:
            return have
        part.unlink()
        return _receive(url, part)
    with response:
        start, total = _extent(response)
        if start not in (0, have):
            part.unlink()
            raise HTTPException(f"asked for the bytes from {have}, the server sends those from {start}")
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - start > free:
            raise InputError(f"{url} needs {gigabytes(total - start)}, {part.parent} has {gigabytes(free)} free")
        _note(response, tag)
        with open(part, "ab" if start else "wb") as file, _bar(url, start, total) as bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    return total


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Where what is sent begins in the file, and the size of the file."""
    if response.status == 206:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not sent:
            raise HTTPException("the server sends a part and does not say which")
        return int(sent[1]), None if sent[2] == "*" else int(sent[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _note(response: HTTPResponse, tag: Path) -> None:
    """Keeps what tells this file from another at the same address."""
    strong = response.headers.get("ETag", "")
    mark = response.headers.get("Last-Modified", "") if strong.startswith("W/") or not strong else strong
    if mark:
        tag.write_text(mark)
    else:
        tag.unlink(missing_ok=True)


def _check(part: Path, url: str, checksum: str) -> None:
    if not checksum:
        return
    kind, _, expected = checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(part, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        part.unlink()
        _tag_of(part).unlink(missing_ok=True)
        raise InputError(f"{url} has the {kind} {digest.hexdigest()}, not {expected}: the download was thrown away")


def _bar(url: str, start: int, total: int | None) -> Bar:
    name = url.rsplit("/", 1)[-1]
    return Bar(desc=name, initial=start, total=total, unit="B", unit_scale=True, dynamic_ncols=True, leave=False)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def gigabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"
