"""The registries that a config names things from.

`ATTENTION` holds functions `(QKV, **options) -> Attention | Tensor (N, heads, T, T)`: the weights a patch
gives to the others. `TAILS` holds modules that read the end of the network, `GUIDES` second models that a
method may ask, `REGIONS` those who find a picture's regions, `STAGES` what acts on a picture's scores before they are
stitched, `STEPS` the refinements of score maps and labels, `RERANKERS` whom one of these may ask. Building an attention
binds its options, and whatever is built is held against the annotations of its settings (`settings.py`) first.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from mmengine.registry import MODELS, Registry, build_from_cfg

from .errors import InputError
from .settings import check_settings

__all__ = [
    "ATTENTION",
    "GUIDES",
    "MODELS",
    "REGIONS",
    "RERANKERS",
    "STAGES",
    "STEPS",
    "TAILS",
    "Parts",
    "one_of_each",
    "only_one",
]

T = TypeVar("T")


class Parts:
    """Frozen networks that models have in common, each as long as a model has it; with `readers`, their readers too.

    Those are the tails, stages and steps of one config, which hold nothing but their settings.
    """

    def __init__(self, readers: bool = False) -> None:
        self.readers = readers
        self.known: WeakValueDictionary[str, object] = WeakValueDictionary()
        self.told: dict[str, list[warnings.WarningMessage]] = {}


_parts: ContextVar[Parts | None] = ContextVar("parts of the models that are being built", default=None)


@contextmanager
def one_of_each(parts: Parts | None = None) -> Iterator[None]:
    """Within it, frozen networks of one config are one object: what is asked of them is asked once.

    A model is built in such a place; with `parts`, around several models, they have these in common.
    """
    if parts is None and _parts.get() is not None:
        yield
        return
    token = _parts.set(parts or Parts())
    try:
        yield
    finally:
        _parts.reset(token)


def only_one(build: Callable[..., T], *settings: object) -> T:
    """`build(*settings)`: within `one_of_each`, that of before where there is one of these settings."""
    parts = _parts.get()
    if parts is None:
        return build(*settings)
    key = f"{build.__module__}.{build.__qualname__} {settings!r}"
    part = parts.known.get(key)
    if part is None:
        with warnings.catch_warnings(record=True) as parts.told[key]:
            warnings.simplefilter("always")
            part = parts.known[key] = build(*settings)
    for warning in parts.told[key]:  # everyone who has the part hears of it
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return part


class Shelf(Registry):
    """A registry of ours, whose parts are loaded before they are listed, too."""

    @property
    def module_dict(self) -> dict[str, Callable]:
        """The parts by their names."""
        self.import_from_location()
        return super().module_dict


def _bind(config: dict | str, registry: Registry, **_) -> partial:
    options = {"type": config} if isinstance(config, str) else dict(config)
    name = options.pop("type")
    function = registry.get(name)
    if function is None:
        raise InputError(f"there is no attention {name!r}; choose one of {', '.join(sorted(registry.module_dict))}")
    known = list(inspect.signature(function).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"attention {name!r} has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}")
    check_settings(name, function, options)
    return partial(function, **options)


def _build(config: dict, registry: Registry, **others: object) -> object:
    """As mmengine builds, once the settings are of their kinds."""
    found = registry.get(config["type"]) if isinstance(config.get("type"), str) else None
    if found is not None:
        check_settings(config["type"], found, config)
    return build_from_cfg(config, registry, **others)


def _build_guide(config: dict | str, registry: Registry) -> object:
    config = {"type": config} if isinstance(config, str) else config

    def build(name: str, settings: list[tuple[str, object]]) -> object:
        return _build(dict(settings), registry)

    return only_one(build, registry.name, sorted(config.items()))


def _build_reader(config: dict, registry: Registry) -> object:
    return (_build_guide if (parts := _parts.get()) and parts.readers else _build)(config, registry)


ATTENTION = Shelf("attention", scope="mmseg", build_func=_bind, locations=["sclip_seg.methods"])
TAILS = Shelf("tail", scope="mmseg", build_func=_build_reader, locations=["sclip_seg.methods"])
GUIDES = Shelf("guide", scope="mmseg", build_func=_build_guide, locations=["sclip_seg.towers.guide"])
REGIONS = Shelf("regions", scope="mmseg", build_func=_build_guide, locations=["sclip_seg.regions"])
STAGES = Shelf(
    "stage", scope="mmseg", build_func=_build_reader, locations=["sclip_seg.picture.stages", "sclip_seg.methods"]
)
STEPS = Shelf(
    "step", scope="mmseg", build_func=_build_reader, locations=["sclip_seg.picture.refine", "sclip_seg.methods"]
)
RERANKERS = Shelf("reranker", scope="mmseg", build_func=_build_guide, locations=["sclip_seg.picture.refine.image_text"])
