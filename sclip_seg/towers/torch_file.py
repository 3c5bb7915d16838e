"""Files of PyTorch's read as data: tensors come out of them, and nothing in them is run (`unpickling`).

One reader for what `torch.save` and `torch.jit.save` write, on every torch: `torch.load(weights_only=True)` before
torch 2.6 hands an archive that looks like TorchScript to `torch.jit.load`, which runs its `__setstate__`.
"""

import mmap
import re
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from .unpickling import Reader, Storage, Stranger, Unreadable, View

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before torch 1.6
LARGEST_PICKLE = 2**28  # bytes; those of large training runs have some 2**24
LARGEST_SOURCE = 2**24
MOST_ENTRIES = 100_000
LONGEST_NAME = 1000


class TorchFile:
    """A file of `torch.save` or `torch.jit.save`: `tree` is what was saved, with a `View` for each tensor.

    `scripted` tells a TorchScript archive, whose tree is the flat state dict of its module.
    Raises `Unreadable`, or whatever a damaged file makes of pickle and zipfile.
    """

    def __init__(self, path: Path) -> None:
        self.scripted = False
        self.places: dict[str, tuple[int, int]] = {}  # key of a storage -> first byte and length
        self.taken = 0
        self.loaded: dict[tuple[str, torch.dtype], Tensor] = {}
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.bytes[: len(MAGIC)] == MAGIC:
            self.tree = self._legacy()
        else:
            with zipfile.ZipFile(path) as archive:
                self.tree = self._archive(archive)

    def tensor(self, view: View) -> Tensor:
        """The tensor, on the CPU; tensors that share a storage in the file share it here."""
        storage, offset, size, stride = view
        numbers = (offset, storage.count, *size, *stride)
        if len(size) != len(stride) or not all(isinstance(n, int) and 0 <= n < 2**48 for n in numbers):
            raise Unreadable("a tensor of impossible shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= storage.count:
            raise Unreadable("a tensor that reaches beyond its data")
        return self._elements(storage).as_strided(size, stride, offset)

    def _elements(self, storage: Storage) -> Tensor:
        if (storage.key, storage.dtype) not in self.loaded:
            length = storage.count * storage.dtype.itemsize
            first, available = self.places.get(storage.key, (0, 0))
            if length > available or first + length > len(self.bytes):
                raise Unreadable("less data than its tensors need; the file is cut short")
            self.taken += length
            if self.taken > len(self.bytes):
                raise Unreadable("tensors of more bytes than the file has")
            content = bytearray(memoryview(self.bytes)[first : first + length])
            elements = torch.frombuffer(content, dtype=storage.dtype) if length else torch.empty(0, dtype=storage.dtype)
            self.loaded[storage.key, storage.dtype] = elements
        return self.loaded[storage.key, storage.dtype]

    def _archive(self, archive: zipfile.ZipFile) -> object:
        names = {info.filename: info for info in archive.infolist()}
        root = next((name[:-8] for name in names if name.endswith("/data.pkl") and name.count("/") == 1), None)
        if root is None:
            raise Unreadable("no archive that torch wrote")
        if f"{root}byteorder" in names and self._entry(names[f"{root}byteorder"], 16) == b"big":
            raise Unreadable("written on a machine of the other byte order")
        for name, info in names.items():
            if name.startswith(f"{root}data/"):
                self.places[name.removeprefix(f"{root}data/")] = self._place(info)
        tree = Reader(BytesIO(self._entry(names[f"{root}data.pkl"], LARGEST_PICKLE))).load()
        self.scripted = f"{root}constants.pkl" in names
        if not self.scripted:
            return tree
        sources = {}
        for name, info in names.items():
            if name.startswith(f"{root}code/") and name.endswith(".py") and info.file_size <= LARGEST_SOURCE:
                with archive.open(info) as entry:  # these may be compressed
                    sources[name.removeprefix(f"{root}code/")] = entry.read(LARGEST_SOURCE).decode(errors="replace")
        return flat(tree, sources)

    def _place(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        """First byte and length of an entry. torch stores them as they are, and may leave their checksums out."""
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Unreadable("compressed or encrypted tensors, which torch never writes")
        header = self.bytes[info.header_offset : info.header_offset + 30]
        if header[:4] != b"PK\x03\x04":
            raise Unreadable("a damaged directory")
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return info.header_offset + 30 + names, info.file_size

    def _entry(self, info: zipfile.ZipInfo, largest: int) -> bytes:
        first, length = self._place(info)
        if length > min(largest, len(self.bytes)):
            raise Unreadable(f"an entry {info.filename} of {length} bytes")
        return self.bytes[first : first + length]

    def _legacy(self) -> object:
        reader = None
        for _ in range(4):  # magic number, protocol, sizes of C's types, and what was saved
            reader = Reader(self.bytes)
            tree = reader.load()
        for key in Reader(self.bytes).load():
            first = self.bytes.tell() + 8
            count = int.from_bytes(self.bytes.read(8), "little")
            length = count * reader.storages[key].dtype.itemsize
            if first + length > len(self.bytes):
                raise Unreadable("less data than its tensors need; the file is cut short")
            self.places[key] = first, length
            self.bytes.seek(first + length)
        return tree


def flat(module: object, sources: dict[str, str]) -> dict[str, View]:
    """State dict of a TorchScript module: what its source, read as text, declares as parameters and buffers."""
    found, waiting, seen = {}, [("", module)], 0
    while waiting:
        prefix, module = waiting.pop()
        if not isinstance(module, Stranger) or not isinstance(module.state, dict):
            raise Unreadable("TorchScript without modules")
        stem, _, name = module.name.rpartition(".")
        declared = _declared(sources.get(f"{stem.replace('.', '/')}.py", ""), name)
        for key, value in module.state.items():
            if isinstance(value, View) and (declared is None or key in declared):
                found[f"{prefix}{key}"] = value
            elif isinstance(value, Stranger) and value.name.startswith("__torch__") and isinstance(value.state, dict):
                waiting.append((f"{prefix}{key}.", value))
        seen += 1 + len(module.state)
        if seen > MOST_ENTRIES or len(prefix) > LONGEST_NAME:  # modules within themselves
            raise Unreadable("TorchScript of endless modules")
    return found


def _declared(source: str, name: str) -> set[str] | None:
    """Names of the parameters and buffers of a class; None where the source says nothing of it."""
    text = re.search(rf"^class {re.escape(name)}\(.*?(?=^class |\Z)", source, re.MULTILINE | re.DOTALL)
    if text is None:
        return None
    lists = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*?)\]", text[0], re.MULTILINE)
    return {key for part in lists for key in re.findall(r'"([^"]*)"', part)} if lists else None
