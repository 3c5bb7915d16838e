"""The registries that a config names things from.

`ATTENTION` holds functions `(QKV, **options) -> Attention | Tensor (N, heads, T, T)`: the weights a patch
gives to the others. `TAILS` holds modules that read the end of the network, `GUIDES` second models that a
method may ask, `STAGES` what acts on a picture's scores before they are stitched, `STEPS` the refinements of
score maps and labels. Building an attention binds its options, and whatever is built is held against the
annotations of its settings (`settings.py`) first.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from mmengine.registry import MODELS, Registry, build_from_cfg

from .errors import InputError
from .settings import check_settings

__all__ = ["ATTENTION", "GUIDES", "MODELS", "STAGES", "STEPS", "TAILS", "one_of_each_guide"]

_built: ContextVar[dict[str, object] | None] = ContextVar("guides of the model that is being built", default=None)


@contextmanager
def one_of_each_guide() -> Iterator[None]:
    """Within it, guides of one config are one module: what a model's tail, stages and steps ask is asked once."""
    token = _built.set({})
    try:
        yield
    finally:
        _built.reset(token)


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


def _build_guide(config: dict, registry: Registry, **others: object) -> object:
    built, key = _built.get(), repr(sorted(config.items()))
    if built is None:
        return _build(config, registry, **others)
    if key not in built:
        built[key] = _build(config, registry, **others)
    return built[key]


ATTENTION = Registry("attention", scope="mmseg", build_func=_bind, locations=["sclip_seg.methods"])
TAILS = Registry("tail", scope="mmseg", build_func=_build, locations=["sclip_seg.methods"])
GUIDES = Registry("guide", scope="mmseg", build_func=_build_guide, locations=["sclip_seg.towers.guide"])
STAGES = Registry(
    "stage",
    scope="mmseg",
    build_func=_build,
    locations=["sclip_seg.picture.texts", "sclip_seg.picture.experts", "sclip_seg.methods"],
)
STEPS = Registry("step", scope="mmseg", build_func=_build, locations=["sclip_seg.picture.refine", "sclip_seg.methods"])
