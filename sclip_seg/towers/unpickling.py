"""Pickles of PyTorch's read as data: nothing in them is run, and nothing is imported.

A pickle names what it wants called. Here a name is either one of a few that make plain data, or that of an object of a
well-known library, for which an inert stand-in is made, or the file is refused.
"""

import mmap
import pickle
import re
from io import BytesIO
from typing import NamedTuple

import torch

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
# What training scripts leave beside the weights. It is never built, so it need not be read.
INERT = re.compile(
    r"(numpy|numpy\.(core|_core)\.(multiarray|numeric)|numpy\.dtypes|numpy\.random\._pickle|_codecs|copy_?reg"
    r"|argparse|pathlib|datetime|decimal|fractions|uuid|enum|typing|collections"
    r"|torch|torch\.(_utils|storage|serialization|torch_version|nn\.parameter|optim(\..*)?|amp(\..*)?)"
    r"|(omegaconf|pytorch_lightning|lightning|lightning_fabric|mmengine|mmcv|yacs|addict|easydict|ml_collections)(\..*)?"
    r")"
)
BUILTINS = {"object", "list", "dict", "tuple", "int", "float", "complex", "bool", "str", "bytes", "bytearray", "slice"}
BUILTINS |= {"range"}
LIBRARIES = re.compile(
    r"(torch\.(nn|jit|fx)|open_clip|clip|timm|transformers|torchvision|diffusers|__main__|models?)\b"
)


class Unreadable(Exception):
    """A file holds what is not read; says what."""


class Storage(NamedTuple):
    """A storage that a pickle names: what its elements are, its key in the file, how many they are."""

    dtype: torch.dtype
    key: str
    count: int


class View(NamedTuple):
    """A tensor that a pickle names, not yet read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Mapping(dict):
    """A dict, whatever is said of it besides."""

    def __init__(self, *given: object) -> None:
        super().__init__(given[0] if given and isinstance(given[0], dict | list) else ())

    def __setstate__(self, state: object) -> None:
        pass


class Stranger:
    """Stands for an object that is not built: takes what is said of it, and does nothing."""

    name = ""

    def __new__(cls, *_, **__) -> "Stranger":
        return object.__new__(cls)

    def __init__(self, *_, **__) -> None:
        self.state = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Nothing is kept."""

    extend = add = append


class Reader(pickle._Unpickler):  # the one in Python: the other makes room for whatever index a pickle names
    """Unpickles plain data, `View`s and `Stranger`s."""

    def __init__(self, file: BytesIO | mmap.mmap) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, name: tuple) -> Storage:
        """The storage that a pickle names by ('storage', its type, its key, its device, its count)."""
        if not isinstance(name, tuple) or len(name) < 5 or name[0] != "storage":
            raise Unreadable(f"a pickled {name[0] if isinstance(name, tuple) and name else name!s:.40}")
        if (len(name) > 5 and name[5] is not None) or not isinstance(name[1], torch.dtype):
            raise Unreadable("a storage of a kind that is not read")
        self.storages[str(name[2])] = storage = Storage(name[1], str(name[2]), name[4])
        return storage

    def get_extension(self, code: int) -> None:
        """copyreg's numbers stand for names that other code registered."""
        raise Unreadable(f"the pickle extension {code}")

    def find_class(self, module: str, name: str) -> object:
        """What a pickle's name stands for. Never an import."""
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        known = name in BUILTINS if module in ("builtins", "__builtin__") else INERT.fullmatch(module)
        if known or module.startswith("__torch__"):
            return type("Stranger", (Stranger,), {"name": f"{module}.{name}"})
        if LIBRARIES.match(module):
            raise Unreadable(f"a pickled object ({module}.{name}), which is code; only a state dict is read: save that")
        raise Unreadable(f"a pickle that asks for {module}.{name}, which could run code")


def rebuild(storage: Storage, offset: int, size: tuple, stride: tuple, *_) -> View:
    """`torch._utils._rebuild_tensor_v2`, as far as it says where a tensor lies."""
    if not isinstance(storage, Storage):
        raise Unreadable("a tensor without data")
    return View(storage, offset, tuple(size), tuple(stride))


def rebuild_typed(storage: Storage, offset: int, size: tuple, stride: tuple, grad: bool, hooks: object, *more) -> View:
    """`torch._utils._rebuild_tensor_v3`: the type is said apart, and the storage counts bytes."""
    if not isinstance(storage, Storage) or not more or not isinstance(more[0], torch.dtype):
        raise Unreadable("a tensor without data or type")
    typed = Storage(more[0], storage.key, storage.count // more[0].itemsize)
    return View(typed, offset, tuple(size), tuple(stride))


def first_of(value: object, *_) -> object:
    """Of a parameter its tensor, of a tagged list the list."""
    return value


PLAIN = {
    ("collections", "OrderedDict"): Mapping,
    ("collections", "defaultdict"): Mapping,
    ("collections", "Counter"): Mapping,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild_typed,
    ("torch._utils", "_rebuild_parameter"): first_of,
    ("torch._utils", "_rebuild_parameter_with_state"): first_of,
    **{("torch.jit._pickle", f"build_{kind}list"): first_of for kind in ("int", "double", "bool", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): first_of,
}
