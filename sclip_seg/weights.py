"""From a tag or a file to a loaded open_clip model, with errors that say which file belongs where."""

import hashlib
import logging
import os
import socket
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import open_clip
import torch
from huggingface_hub import constants, try_to_load_from_cache
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from safetensors.torch import load_file

from .errors import InputError

SUFFIXES = (".safetensors", ".pt", ".bin", ".pth")
HUB_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # in the order that open_clip tries
TOY = Path(__file__).parent / "toy"
SHIPPED = {"toy": TOY / "toy.safetensors"}

open_clip.add_model_config(TOY / "toy.json")


def build_clip(arch: str, quick_gelu: bool) -> torch.nn.Module:
    """open_clip's model `arch` with random weights, fp32, on the CPU."""
    if arch not in open_clip.list_models():
        raise InputError(f"open_clip {open_clip.__version__} has no model {arch!r}; see open_clip.list_models()")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it warns that the weights are random; they are loaded next
    try:
        return open_clip.create_model(arch, force_quick_gelu=quick_gelu)
    finally:
        logging.root.setLevel(level)


def find(arch: str, pretrained: str, folder: str) -> Path:
    """The file behind `pretrained`: a path, a shipped name, or a tag (looked up in `folder`, then downloaded)."""
    if Path(pretrained).is_file():
        return Path(pretrained)
    if pretrained in SHIPPED:
        return SHIPPED[pretrained]
    if Path(pretrained).suffix in SUFFIXES:
        raise InputError(f"there is no weights file {pretrained}")
    source = get_pretrained_cfg(arch, pretrained)
    if not source:
        tags = ", ".join(list_pretrained_tags_by_model(arch)) or "none"
        raise InputError(f"{pretrained!r} is neither a file nor a tag of {arch}; its tags: {tags}")
    for suffix in SUFFIXES:
        if (local := Path(folder) / f"{arch}.{pretrained}{suffix}").is_file():
            return local
    if (cached := _in_hub_cache(source)) is not None:
        return cached
    if not _reachable(source):
        raise InputError(_how_to_get(arch, pretrained, source, folder))
    try:
        return Path(download_pretrained(source))
    except Exception as error:  # open_clip passes on whatever the hub's client, the network or the disk raise
        raise InputError(_how_to_get(arch, pretrained, source, folder)) from error


def _in_hub_cache(source: dict) -> Path | None:
    """A file that an earlier download left, found without asking the network."""
    model, name = os.path.split(source.get("hf_hub") or "")
    names = (name,) if name else HUB_NAMES
    found = (try_to_load_from_cache(model, name) for name in names) if model else ()
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _reachable(source: dict) -> bool:
    """Whether the host answers at all; the hub's client takes a minute of retries to find out."""
    if urllib.request.getproxies():
        return True
    address = urlsplit(constants.ENDPOINT if source.get("hf_hub") else source["url"])
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=10).close()
    except OSError:
        return False
    return True


def _how_to_get(arch: str, tag: str, source: dict, folder: str) -> str:
    hub = (source.get("hf_hub") or "").rstrip("/")
    places = [
        f"https://huggingface.co/{hub} (open_clip_model.safetensors or open_clip_pytorch_model.bin)" if hub else "",
        source.get("url") or "",
    ]
    return (
        f"the weights {tag!r} of {arch} are not on this machine and could not be downloaded.\n"
        f"  Fetch them elsewhere from {' or '.join(filter(None, places))}\n"
        f"  and put the file at {Path(folder) / f'{arch}.{tag}'}.safetensors (or .bin, .pt as it came).\n"
        "  The backbone toy needs no download."
    )


def tag_of(arch: str, pretrained: str) -> str:
    """The tag that says how the weights were trained: `pretrained` itself, or what a file named ARCH.TAG.* says."""
    stem = Path(pretrained).stem
    return stem.removeprefix(f"{arch}.") if stem.startswith(f"{arch}.") else pretrained


def read(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a safetensors file, a plain checkpoint, or one of OpenAI's TorchScript archives."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript(path):
            state = dict(torch.jit.load(path, map_location="cpu").state_dict())
            return {k: v for k, v in state.items() if k not in ("input_resolution", "context_length", "vocab_size")}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no readable weights file: {reason}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path} holds no state dict (a mapping from names to tensors)")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def is_torchscript(path: Path) -> bool:
    """OpenAI's own checkpoints are TorchScript archives; nobody else's are."""
    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load(model: torch.nn.Module, path: Path, arch: str) -> None:
    """Puts the weights of `path` into `model`; every name and shape must fit."""
    state = read(path)
    if "logit_scale" in state:
        state["logit_scale"] = state["logit_scale"].reshape(model.logit_scale.shape)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or extra or wrong:
        faults = [
            f"{len(names)} {what}, e.g. {names[0]}"
            for what, names in (("missing", missing), ("unknown", extra), ("of another shape", sorted(wrong)))
            if names
        ]
        raise InputError(f"{path} does not fit {arch}: {'; '.join(faults)}. Is the backbone the right one?")
    model.load_state_dict(state)


def digest(model: torch.nn.Module) -> str:
    """First 12 hex digits of a hash over all weights, by name."""
    total = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()
