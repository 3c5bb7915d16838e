"""Weights files made to run code or to fill the memory: read as data or refused in one line, and nothing happens."""

import builtins
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from weight_files import pickle_of, rewritten, saved

from sclip_seg.errors import InputError
from sclip_seg.towers.checkpoint import read
from sclip_seg.towers.torch_file import MAGIC
from sclip_seg.towers.unpickling import Reader, Unreadable

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")
CALLS = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("__builtin__", "execfile"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("torch.hub", "load"),
    ("torch.serialization", "load"),
    ("torch.jit", "load"),
    ("torch", "load"),
    ("torch._utils", "_import_dotted_name"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy", "load"),
    ("pip", "main"),
    ("sclip_seg.config", "load_config"),
    ("pathlib", "Path.touch"),
    ("collections", "eval"),
    ("__torch__.os", "system"),
    ("torch.nn.modules.linear", "Linear"),
]


class Script(nn.Module):
    """Writes to a file when it is loaded, as TorchScript lets a module do."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.weight = nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path, self.weight, self.training = state
        torch.save(self.weight, self.path)

    def forward(self, x):
        return x


def nothing_happens(path: Path, folder: Path, monkeypatch) -> str:
    """Reads a file, and holds that nothing was run, imported or written."""

    ran = []
    before, modules = sorted(folder.rglob("*")), set(sys.modules)
    for module, name in ((os, "system"), (builtins, "eval"), (builtins, "exec"), (torch, "load"), (torch.jit, "load")):
        monkeypatch.setattr(module, name, lambda *_, what=name, **__: ran.append(what))
    try:
        read(path)
        said = ""
    except InputError as error:
        said = str(error)
    finally:
        monkeypatch.undo()
    assert not ran
    assert set(sys.modules) == modules
    assert sorted(folder.rglob("*")) == before
    assert "\n" not in said
    return said


def test_an_archive_whose_setstate_writes_a_file(tmp_path, monkeypatch):
    target = tmp_path / "sprung"
    torch.jit.script(Script(str(target))).save(tmp_path / "a.pt")
    torch.jit.load(tmp_path / "a.pt")
    assert target.exists()  # the trap works
    target.unlink()
    assert nothing_happens(tmp_path / "a.pt", tmp_path, monkeypatch)
    # The same beside what makes it look like a state dict, under either name.
    for name in ("a.bin", "a.safetensors"):
        (tmp_path / "a.pt").rename(tmp_path / name)
        nothing_happens(tmp_path / name, tmp_path, monkeypatch)
        (tmp_path / name).rename(tmp_path / "a.pt")


@pytest.mark.parametrize("place", ["zip", "archive", "legacy", "bare"])
@pytest.mark.parametrize("call", CALLS, ids=".".join)
def test_a_pickle_that_calls_something(call, place, tmp_path, monkeypatch):
    path, trap = tmp_path / "a.pt", pickle_of((*call, f"touch {tmp_path}/sprung"))
    plain = tmp_path / "plain.pt"
    if place == "archive":
        torch.jit.script(nn.Linear(2, 3)).save(plain)
    else:
        plain.write_bytes(saved({"a": torch.ones(2)}))
    if place in ("zip", "archive"):
        rewritten(plain, path, {"data.pkl": trap})
    else:
        number = pickle.dumps(1001, 2)
        path.write_bytes((MAGIC + number + pickle.dumps({}, 2) if place == "legacy" else b"") + trap)
    assert nothing_happens(path, tmp_path, monkeypatch)


def test_it_is_said_what_a_pickle_asks_for(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, ("true",)

    (tmp_path / "a.pt").write_bytes(saved({"a": torch.ones(2), "b": Trap()}))
    with pytest.raises(InputError, match=rf"asks for {os.name}\.system, which could run code"):
        read(tmp_path / "a.pt")


@given(st.binary(max_size=60))
def test_no_pickle_gives_anything_but_data(content):
    """Whatever the operations: what comes out is plain, or nothing does."""
    import io

    try:
        found = Reader(io.BytesIO(content + b".")).load()
    except Unreadable:
        return
    except Exception:
        return
    assert not callable(found) or type(found).__module__ in ("builtins", "sclip_seg.towers.unpickling")


def change_pickle(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "plain.pt").write_bytes(saved({"a": torch.ones(2)}))
    return rewritten(tmp_path / "plain.pt", tmp_path / "a.pt", {"data.pkl": content})


@pytest.mark.parametrize(
    "pieces",
    [
        b"r\xff\xff\xff\x7f",  # a place in the memo that would take 16 GB
        b"\x8e" + struct.pack("<Q", 2**40),  # bytes to come
        b"\x8d" + struct.pack("<Q", 2**40),  # text to come
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # a number to come
        b"\x95" + struct.pack("<Q", 2**62),  # a frame to come
        b"(" * 100_000,
        b"]" * 100_000 + b"a" * 99_999,
    ],
    ids=["memo", "bytes", "text", "number", "frame", "marks", "lists"],
)
def test_a_pickle_that_wants_memory(pieces, tmp_path):
    with pytest.raises(InputError):
        read(change_pickle(tmp_path, b"\x80\x04]" + pieces + b"."))


def lying(size, stride, offset=0, count=2, key="0"):
    """A data.pkl whose tensor says this of itself."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX" + struct.pack("<I", len(key)) + key.encode()
    storage += b"X\x03\0\0\0cpu\x8a\x08" + struct.pack("<q", count) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"\x8a\x08" + struct.pack("<q", offset)
    tensor += numbers(size) + numbers(stride) + b"\x89}tR"
    return b"\x80\x02}X\x01\0\0\0a" + tensor + b"s."


def test_the_lying_pickle_can_tell_the_truth(tmp_path):
    assert read(change_pickle(tmp_path, lying([2], [1]))).state["a"].tolist() == [1, 1]


@given(
    size=st.lists(st.sampled_from([0, 1, 2, 3, 2**20, 2**62, -1]), max_size=3),
    stride=st.lists(st.sampled_from([0, 1, 2, 2**20, 2**62, -1]), max_size=3),
    offset=st.sampled_from([0, 1, 2, 3, 2**40, -1]),
    count=st.sampled_from([0, 1, 2, 3, 2**40, -1]),
    key=st.sampled_from(["0", "1", "../0", ""]),
)
def test_a_tensor_that_lies_about_its_data_reads_none_of_the_memory(size, stride, offset, count, key, tmp_path_factory):
    path = change_pickle(tmp_path_factory.mktemp("lying"), lying(size, stride, offset, count, key))
    try:
        tensor = read(path).state["a"]
    except InputError:
        return
    assert tensor.untyped_storage().nbytes() <= 8
    if 0 < tensor.numel() < 100:
        assert (tensor == 1).all()


def test_compressed_tensors_are_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(saved({"a": torch.zeros(1_000_000)}))
    bomb = rewritten(tmp_path / "a.pt", tmp_path / "b.pt", {}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 20_000
    with pytest.raises(InputError, match="compressed"):
        read(bomb)


def test_many_tensors_over_the_same_bytes_are_refused(tmp_path):
    """Entries of the directory that overlap: each is within the file, all together are not."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        pickled = saved({str(index): torch.zeros(1000) for index in range(50)})
        (tmp_path / "plain.pt").write_bytes(pickled)
        with zipfile.ZipFile(tmp_path / "plain.pt") as plain:
            archive.writestr("a/data.pkl", plain.read(next(n for n in plain.namelist() if n.endswith("/data.pkl"))))
        archive.writestr("a/data/0", bytes(4000))
        for index in range(1, 50):
            copy = zipfile.ZipInfo(f"a/data/{index}")
            copy.file_size, copy.compress_size, copy.CRC = 4000, 4000, 0
            copy.header_offset = archive.getinfo("a/data/0").header_offset
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    with pytest.raises(InputError, match=r"more bytes than the file has|damaged"):
        read(tmp_path / "a.pt")


def test_modules_within_themselves_come_to_an_end(tmp_path):
    torch.jit.script(nn.Linear(2, 3)).save(tmp_path / "plain.pt")
    name = b"c__torch__.M\nM\n)\x81"
    itself = b"\x80\x02" + name + b"q\x00}X\x01\0\0\0ah\x00sb."
    doubling = (
        b"\x80\x02"
        + name
        + b"}bq\x00"
        + b"".join(
            name + b"}(X\x01\0\0\0ah" + bytes([i]) + b"X\x01\0\0\0bh" + bytes([i]) + b"ubq" + bytes([i + 1])
            for i in range(60)
        )
        + b"."
    )
    for content in (itself, doubling):
        with pytest.raises(InputError):
            read(rewritten(tmp_path / "plain.pt", tmp_path / "a.pt", {"data.pkl": content}))
