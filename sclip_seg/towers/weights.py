"""From a name to a loaded open_clip model, with errors that say which file belongs where."""

import hashlib
import logging
import os
from pathlib import Path

import open_clip
import torch
from huggingface_hub import constants
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from torch import Tensor

from ..errors import InputError
from ..hosts import answers
from . import checkpoint, facts, snapshot
from .layouts import TIMM, as_open_clip, other_layout
from .stock import config_of

SUFFIXES = (".safetensors", ".pt", ".bin", ".pth")
HUB_NAMES = snapshot.OPEN_CLIP
TOY = Path(__file__).parents[1] / "toy"
SHIPPED = {name: TOY / f"{name}.safetensors" for name in facts.SHIPPED}

for own in SHIPPED:
    open_clip.add_model_config(TOY / f"{own}.json")


def build_clip(arch: str, quick_gelu: bool | None = None, device: str = "cpu") -> torch.nn.Module:
    """open_clip's model `arch` with random weights, fp32; None leaves the activation to its config."""
    own = config_of(arch).get("quick_gelu", False)
    other = {"quick_gelu": False} if quick_gelu is False and own else {}
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it warns that the weights are random; they are loaded next
    try:
        return open_clip.create_model(arch, force_quick_gelu=bool(quick_gelu), device=device, **other)
    finally:
        logging.root.setLevel(level)


def find(arch: str, pretrained: str, folder: str) -> Path:
    """The file behind `pretrained`: a shipped name, a tag (looked up in `folder`, then downloaded), `hf-hub:` or
    `local-dir:` names, a file, a folder with a model in it.

    A name that is a tag is the tag, whatever files and folders are called so.
    """
    if pretrained in SHIPPED:
        return SHIPPED[pretrained]
    if not facts.is_tag(arch, pretrained):
        return _find_file(arch, pretrained)
    if (here := on_disk(arch, pretrained, folder)) is not None:
        return here
    source = get_pretrained_cfg(arch, pretrained)
    if not _reachable(source):
        raise InputError(_how_to_get(arch, pretrained, source, folder))
    try:
        return Path(download_pretrained(source))
    except Exception as error:  # open_clip passes on whatever the hub's client, the network or the disk raise
        raise InputError(_how_to_get(arch, pretrained, source, folder)) from error


def on_disk(arch: str, pretrained: str, folder: str) -> Path | None:
    """The file that `find` would read if it is on this machine; no network."""
    if pretrained in SHIPPED:
        return SHIPPED[pretrained]
    if not facts.is_tag(arch, pretrained):
        path = Path(pretrained).expanduser()
        return path if path.is_file() else snapshot.on_disk(pretrained)
    named = (Path(folder) / f"{arch}.{pretrained}{suffix}" for suffix in SUFFIXES)
    return next((path for path in named if path.is_file()), None) or _in_hub_cache(get_pretrained_cfg(arch, pretrained))


def _find_file(arch: str, name: str) -> Path:
    if snapshot.is_named(name):
        return snapshot.weights_in(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return snapshot.weights_in(name)
    if path.is_file():
        return path
    if path.suffix in SUFFIXES or path.parent != Path("."):
        hub = (
            f"; a repository of the hub is named {snapshot.HUB}{name}"
            if name.count("/") == 1 and not path.suffix
            else ""
        )
        raise InputError(f"there is no weights file {name}{hub}")
    tags = ", ".join(list_pretrained_tags_by_model(arch)) or "none"
    raise InputError(f"{name!r} is neither a file nor a tag of {arch}; its tags: {tags}")


def _in_hub_cache(source: dict) -> Path | None:
    """A file that an earlier download left, found without asking the network."""
    model, name = os.path.split(source.get("hf_hub") or "")
    return snapshot.on_disk(model, (name,) if name else HUB_NAMES) if model else None


def _reachable(source: dict) -> bool:
    """Whether the host answers at all."""
    return answers(constants.ENDPOINT if source.get("hf_hub") else source["url"])


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


def load(model: torch.nn.Module, found: checkpoint.Checkpoint, path: Path, arch: str) -> None:
    """Puts the weights that `path` holds into open_clip's `model`; every name and shape must fit."""
    own = model.state_dict()
    state = as_open_clip(found.state, path, apart="text.token_embedding.weight" in own)
    both_of_timm = TIMM in own and TIMM in state
    if state.keys() != own.keys() and not both_of_timm and (layout := other_layout(set(state))):
        raise InputError(f"{path} holds {layout}; a CLIP of open_clip's, OpenAI's or transformers' is read")
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own and state[name].numel() == 1:
            state[name] = state[name].reshape(own[name].shape)
    fill(model, state, path, arch, "Is the backbone the right one?")


def fill(model: torch.nn.Module, state: dict[str, Tensor], path: Path, arch: str, question: str = "") -> None:
    """Loads a state dict whose names and shapes are the model's, and whose numbers are numbers. Raises InputError."""
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or extra or wrong:
        shapes = f" ({tuple(state[wrong[0]].shape)} for {tuple(own[wrong[0]].shape)})" if wrong else ""
        faults = [
            f"{len(names)} {what}, e.g. {names[0][:80]}{more}"
            for what, names, more in (
                ("missing", missing, ""),
                ("unknown", extra, ""),
                ("of another shape", wrong, shapes),
            )
            if names
        ]
        raise InputError(f"{path} does not fit {arch}: {'; '.join(faults)}. {question}".rstrip())
    odd = next((k for k in sorted(own) if own[k].is_floating_point() != state[k].is_floating_point()), None)
    if odd is not None:
        raise InputError(
            f"{path} has {odd} in {str(state[odd].dtype).removeprefix('torch.')}, which is no floating point"
        )
    state = {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
    broken = [k for k in sorted(own) if own[k].is_floating_point() and not state[k].isfinite().all()]
    if broken:
        raise InputError(f"{path} has NaN or infinite numbers in {len(broken)} of its tensors, e.g. {broken[0]}")
    model.load_state_dict(state)


def digest(model: torch.nn.Module) -> str:
    """First 12 hex digits of a hash over all weights, by name."""
    total = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()
