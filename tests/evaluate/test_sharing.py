"""Shares of a run among processes, and a journal: what is believed of it, and what is measured again."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.errors import InputError
from sclip_seg.evaluate import sharing
from sclip_seg.evaluate.sharing import line_of

COUNTS = [[1, 2], [3, 4], [5, 6]]
PICTURES = [f"{index:016x}" for index in range(9)]
HEADER = line_of({"key": "k"})


def scored(index: int, picture: str | None = None, files: dict | None = None, key: str = "k") -> bytes:
    """The line of a picture."""
    files = files or {}
    record = {"index": index, "key": key, "picture": picture or PICTURES[index], "counts": COUNTS, "files": files}
    return line_of(record)


def read(folder: Path, pictures: list[str] = PICTURES, **others) -> dict[int, np.ndarray]:
    return sharing.read(folder, "k", pictures, 2, **others)


@given(st.integers(0, 40), st.integers(1, 6), st.sets(st.integers(0, 39)))
def test_every_picture_that_is_not_done_goes_to_one_rank(total: int, ranks: int, done: set[int]) -> None:
    done = {index for index in done if index < total}
    shares = []
    for rank in range(ranks):
        sampler = sharing.Disjoint(range(total))
        sampler.rank, sampler.ranks, sampler.done = rank, ranks, frozenset(done)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sorted(index for share in shares for index in share) == sorted(set(range(total)) - done)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_line_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "rank0.jsonl").write_bytes(HEADER + scored(4) + scored(5)[:-9])
    (tmp_path / "rank1.jsonl").write_bytes(HEADER + scored(7))
    done = read(tmp_path)
    assert sorted(done) == [4, 7]
    assert np.array_equal(done[4], COUNTS)
    assert done[4].dtype == np.int64


@given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
def test_no_damage_gives_other_counts(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: bool) -> None:
    """Whatever byte is changed, or wherever it ends: the counts read are those written, of fewer pictures at most."""
    whole = HEADER + b"".join(scored(index) for index in range(9))
    at %= len(whole)
    damaged = whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :]
    folder = tmp_path_factory.mktemp("journal")
    (folder / "rank0.jsonl").write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = read(folder)
    assert all(np.array_equal(counts, COUNTS) for counts in done.values())
    lost = 9 - len(done)
    if at < len(HEADER) - 1 and damaged != whole:
        assert lost == 9, "a journal whose first line is damaged is not believed"
    elif not cut:
        assert lost <= 2


def test_a_damaged_first_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "rank0.jsonl").write_bytes(b"0" + HEADER[1:] + scored(0))
    (tmp_path / "rank1.jsonl").write_bytes(HEADER + scored(1))
    with pytest.warns(UserWarning, match=r"rank0.jsonl is damaged; its pictures are measured again"):
        assert list(read(tmp_path)) == [1]


def test_what_is_appended_to_a_cut_off_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rank0.jsonl"
    path.write_bytes(HEADER + scored(1) + scored(2)[:-20])
    with sharing._opened(path, HEADER) as file:
        file.write(scored(3))
    assert sorted(read(tmp_path)) == [1, 3]


def test_counts_of_other_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rank0.jsonl").write_bytes(line_of({"key": "before"}))
    with pytest.raises(InputError, match="other settings"):
        read(tmp_path)
    (tmp_path / "rank0.jsonl").write_bytes(HEADER + scored(1, key="before"))
    with pytest.raises(InputError, match="other settings"):
        read(tmp_path)


def test_counts_go_to_whichever_pictures_have_their_files(tmp_path: Path) -> None:
    """Another order, another list, a picture or label mended since, a picture named twice."""
    (tmp_path / "rank0.jsonl").write_bytes(HEADER + b"".join(map(scored, range(4))))
    assert sorted(read(tmp_path, PICTURES[::-1])) == [5, 6, 7, 8]
    assert sorted(read(tmp_path, ["f" * 16, *PICTURES[1:]])) == [1, 2, 3]
    assert sorted(read(tmp_path, ["f" * 16, *PICTURES[:2]])) == [1, 2]
    assert sorted(read(tmp_path, [PICTURES[2], PICTURES[2]])) == [0, 1]
    assert read(tmp_path, [f"{index:016x}" for index in range(100, 104)]) == {}


def test_a_picture_without_its_written_files_is_measured_again(tmp_path: Path) -> None:
    lines = [scored(index, files={"SaveLabels": str(index)}) for index in range(4)]
    (tmp_path / "rank0.jsonl").write_bytes(HEADER + b"".join(lines))
    done = read(tmp_path, is_whole=lambda index, files: files == {"SaveLabels": str(index)} and index != 2)
    assert sorted(done) == [0, 1, 3]


def test_a_folder_that_no_run_has_made_is_left_alone(tmp_path: Path) -> None:
    """Notes stay; a file that would be overwritten is named."""
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "rank9.jsonl").write_text('{"mine": 1}\n')
    sharing.check_own(tmp_path, ranks=1)
    (tmp_path / "rank0.jsonl").write_bytes(HEADER + scored(1))
    (tmp_path / "config.py").write_text("")
    sharing.check_own(tmp_path, ranks=1)
    sharing.forget(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "rank9.jsonl"]
    (tmp_path / "config.py").write_text("mine")
    with pytest.raises(InputError, match=r"config.py is of no run"):
        sharing.check_own(tmp_path, ranks=1)
    (tmp_path / "config.py").unlink()
    with pytest.raises(InputError, match=r"rank9.jsonl is of no run"):
        sharing.check_own(tmp_path, ranks=10)


def test_an_empty_folder_goes_with_its_journals(tmp_path: Path) -> None:
    folder = tmp_path / "progress"
    folder.mkdir()
    (folder / "rank0.jsonl").write_bytes(HEADER)
    (folder / ".rank1.jsonl.abc.tmp").write_bytes(HEADER[:7])
    sharing.forget(folder)
    assert not folder.exists()
    sharing.forget(folder)


@given(st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9), max_size=4))
def test_a_line_says_what_was_put_into_it(record: dict) -> None:
    line = line_of(record)
    assert line.count(b"\n") == 1
    assert sharing.record_of(line.decode().rstrip("\n")) == json.loads(json.dumps(record))
