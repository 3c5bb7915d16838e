"""A weights file read as data: what kind it is by its content, and the state dict that it holds."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError
from .torch_file import MAGIC, TorchFile
from .unpickling import Stranger, Unreadable, View

# Where training scripts put the state dict; moving averages are asked for by name.
PLACES = ("state_dict", "model_state_dict", "model", "teacher", "module", "net", "weights", "params")
AVERAGES = ("state_dict_ema", "model_ema")  # which timm takes first
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # settings in OpenAI's archives
# What a file is by its first bytes.
BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow)"),
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it first"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"model_checkpoint_path:", "the index of a TensorFlow checkpoint"),
)
ENDINGS = {
    ".onnx": "an ONNX model",
    ".pb": "a TensorFlow graph",
    ".tflite": "a TensorFlow Lite model",
    ".msgpack": "Flax weights",
    ".engine": "a TensorRT engine",
    ".trt": "a TensorRT engine",
}


@dataclass(frozen=True)
class Checkpoint:
    """A state dict, by the file's own names, and whether the file is an archive as OpenAI publishes them.

    `args` is what a training script kept beside it of its arguments: plain data, of which nothing is known.
    """

    state: dict[str, Tensor]
    openai: bool = False
    args: dict = field(default_factory=dict)


def read(path: Path, first: tuple[str, ...] = ()) -> Checkpoint:
    """The state dict in a file of safetensors, of `torch.save`, or of `torch.jit.save`, or of several with an index.

    `first`: places in a training checkpoint that go before the usual ones (`PLACES`).

    Raises:
        InputError: a file of another kind, a damaged one, one whose loading could run code, one without tensors.
    """
    kind = "?"
    try:
        kind = kind_of(path)
        if kind == "index":
            return _shards(path)
        tree = _safetensors(path) if kind == "safetensors" else None
        if kind == "torch":
            file = TorchFile(path)
            tree = file.tree
            openai = file.scripted and set(NOT_WEIGHTS) <= tree.keys()
            named = state_in(tree, path, first)
            return Checkpoint({name: file.tensor(view) for name, view in named.items()}, openai, _args(tree))
    except InputError:
        raise
    except Unreadable as error:
        raise InputError(f"{path} is no readable weights file: it holds {error}") from error
    except OSError as error:
        raise InputError(f"the weights file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged file makes of the readers
        what = (
            "damaged, or cut short by a download or copy that was broken off"
            if kind in ("torch", "safetensors")
            else ""
        )
        raise InputError(f"{path} is no readable weights file: it is {what or type(error).__name__}") from error
    if tree is None:
        raise InputError(f"{path} is no readable weights file: it is {kind}")
    return Checkpoint(state_in(tree, path, first))


def kind_of(path: Path) -> str:
    """'torch', 'safetensors', 'index', or in words what else the content is."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(4096)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    for beginning, what in BEGINNINGS:
        if head.startswith(beginning):
            return what
    if head.startswith(MAGIC):
        return "torch"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if 2 <= int.from_bytes(head[:8], "little") < 2**32 and head[8:9] == b"{":
        return "safetensors"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<error")):
        return "a web page (of a login or an error, most likely): fetch the file itself"
    if text.startswith(b"{"):
        return "index" if path.name.endswith(".index.json") and size < 2**26 else "JSON text"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle that torch did not write; save a state dict with torch.save or safetensors"
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return "an ONNX model"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if path.suffix.lower() in ENDINGS:
        return ENDINGS[path.suffix.lower()]
    if not head.strip(b"\0"):
        return "zeros (of a download that was broken off, most likely)"
    if head.isascii() and head.replace(b"\n", b"").replace(b"\r", b"").replace(b"\t", b"").decode().isprintable():
        return f"a text that begins {' '.join(head[:60].decode().split())!r}"
    return "of no kind that is known: neither safetensors nor what torch writes"


def _kind_of_zip(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return "cut short by a download or copy that was broken off"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") and name.count("/") == 1 for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (JAX or big_vision weights)"
    if "model.weights.h5" in names:
        return "a Keras model"
    return f"a zip archive of other things ({', '.join(names[:2])[:60]}); unpack it first"


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except SafetensorError as error:
        raise InputError(
            f"{path} is no readable weights file: its header does not go with its content; it is damaged, or cut short "
            f"by a download or copy that was broken off ({error})"
        ) from error


def _shards(path: Path) -> Checkpoint:
    """All tensors of the files that an index of transformers' or the hub's names; they lie beside it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise InputError(f"{path} is no index of weights: it has no weight_map of names")
    state = {}
    for part in sorted(set(parts.values())):
        if Path(part).name != part or part.endswith(".index.json") or "\\" in part:
            raise InputError(f"{path} names {part!r}, and the parts of an index lie beside it")
        if not (path.parent / part).is_file():
            raise InputError(f"{path} names {part}, which is not there")
        state |= read(path.parent / part).state
    if absent := sorted(parts.keys() - state.keys()):
        raise InputError(f"{path} names {len(absent)} tensors that its files lack, e.g. {absent[0]}")
    return Checkpoint(state)


def state_in(tree: object, path: Path, first: tuple[str, ...] = ()) -> dict[str, View | Tensor]:
    """The mapping from names to tensors in what a file holds, wherever training scripts put it."""
    for _ in range(3):
        inner = next(
            (tree[key] for key in (*first, *PLACES) if isinstance(tree, dict) and _is_state(tree.get(key))), None
        )
        if inner is None:
            break
        tree = inner
    if not _is_state(tree):
        raise InputError(f"{path} holds no state dict (a mapping from names to tensors)")
    state = {str(name): value for name, value in tree.items() if name not in NOT_WEIGHTS}
    odd = next((name for name, value in state.items() if not isinstance(value, View | Tensor)), None)
    if odd is not None:
        kind = getattr(type(state[odd]), "name", "") or type(state[odd]).__name__
        raise InputError(f"{path} holds {odd[:80]!r}, a {kind}, where a tensor is expected")
    return state


def _args(tree: object) -> dict:
    """What an `argparse.Namespace` or a dict under the name `args` holds."""
    found = tree.get("args") if isinstance(tree, dict) else None
    found = found.state if isinstance(found, Stranger) and found.name == "argparse.Namespace" else found
    return found if isinstance(found, dict) else {}


def _is_state(value: object) -> bool:
    """Whether there is a tensor in a mapping, or in a state dict within it."""
    if not isinstance(value, dict):
        return False
    inside = [value.get(key) for key in PLACES]
    held = [*value.values(), *(part for place in inside if isinstance(place, dict) for part in place.values())]
    return any(isinstance(part, View | Tensor) for part in held)
