"""The shelves a config names things from.

`ATTENTION` holds functions `(QKV, **options) -> Attention | Tensor (N, heads, T, T)`: the weights a patch
gives to the others. `TAILS` holds modules that read the end of the network, `GUIDES` second models that a
tail may ask, `STEPS` the refinements of score maps and labels. Building an attention binds its options and
checks their names at once.
"""

import inspect
from functools import partial

from mmengine.registry import MODELS, Registry

from .errors import InputError

__all__ = ["ATTENTION", "GUIDES", "MODELS", "STEPS", "TAILS"]


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
    return partial(function, **options)


ATTENTION = Registry("attention", scope="mmseg", build_func=_bind, locations=["sclip_seg.methods"])
TAILS = Registry("tail", scope="mmseg", locations=["sclip_seg.methods"])
GUIDES = Registry("guide", scope="mmseg", locations=["sclip_seg.guide"])
STEPS = Registry("step", scope="mmseg", locations=["sclip_seg.refine"])
