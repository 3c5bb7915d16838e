"""What a folder of configs needs that is not on this machine: datasets, weights of towers and of second models."""

from collections.abc import Iterator
from inspect import Parameter
from pathlib import Path

from ..choices import choices
from ..config import load_config
from ..data.check import check_dataset
from ..errors import InputError
from ..registry import REGIONS
from ..settings import parameters
from ..towers import guide_weights, snapshot, weights

FOLDER = "data/weights"
NONE = Parameter("checkpoint", Parameter.KEYWORD_ONLY, default=None)


def missing(folder: Path) -> dict[tuple[str, str], str]:
    """Of each (axis, name) "ready", or what is wanting. No network is asked, and no weights are read."""
    have = choices(folder)
    said = {("method", name): _of_method(folder / f"{name}.py") for name in have["method"]}
    any_method = next((folder / f"{name}.py" for name in have["method"]), None)
    if any_method is not None:
        said |= {("dataset", name): _of_dataset(any_method, name) for name in have["dataset"]}
        said |= {("backbone", name): _of_backbone(any_method, name) for name in have["backbone"]}
    return said


def _of_method(path: Path) -> str:
    try:
        model = load_config(path).model.to_dict()
    except InputError as error:
        return _first(error)
    tail = model["backbone"].get("tail")
    beside = {key: part for key, part in model.items() if key != "backbone"}
    wanting = dict.fromkeys(name for part in (tail, beside) for name in _second_models(part))
    return f"needs the weights of {', '.join(wanting)}" if wanting else "ready"


def _second_models(part: object) -> Iterator[str]:
    """Names of those whose weights are not here, at any depth."""
    if isinstance(part, list | tuple):
        for below in part:
            yield from _second_models(below)
    if not isinstance(part, dict):
        return
    arch, checkpoint = part.get("arch"), part.get("checkpoint") or _published(part.get("type"))
    guide = (arch, part.get("pretrained"), part.get("folder", FOLDER))
    if isinstance(arch, str) and guide_weights.on_disk(*guide) is None:
        yield arch
    if isinstance(checkpoint, str) and snapshot.on_disk(checkpoint) is None:
        yield checkpoint
    for below in part.values():
        yield from _second_models(below)


def _published(kind: object) -> str | None:
    """The checkpoint of a provider of regions that is told none."""
    provider = REGIONS.get(kind) if isinstance(kind, str) and "." not in kind else None
    if provider is None:
        return None
    return getattr(provider, "published", None) or parameters(provider).get("checkpoint", NONE).default


def _of_dataset(method: Path, name: str) -> str:
    try:
        pictures = check_dataset(load_config(method, dataset=name).test_dataloader.dataset.to_dict())
    except InputError as error:
        return _first(error)
    return f"ready: {pictures} pictures"


def _of_backbone(method: Path, name: str) -> str:
    try:
        backbone = load_config(method, backbone=name).model.backbone
        arch, pretrained = backbone.arch, backbone.get("pretrained") or backbone.arch
        found = weights.on_disk(arch, pretrained, backbone.get("folder", FOLDER))
    except InputError as error:
        return _first(error)
    return "ready" if found else f"needs the weights {pretrained} of {arch}" if pretrained != arch else f"needs {arch}"


def _first(error: InputError) -> str:
    return str(error).partition("\n")[0].partition("; expected")[0]
