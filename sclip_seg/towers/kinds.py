"""Which towers are read, and what they have: by the kinds of their parts, never by a name, before anything is built.

A config says it of open_clip's own towers. A timm tower is laid out without numbers, on torch's meta device, which
takes well under a second, and then looked at as the real one is.
"""

import inspect
import json
from dataclasses import dataclass
from functools import cache
from typing import get_args

import open_clip
import timm
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from ..errors import InputError
from ..registry import TAILS
from .own_tower import OwnTower
from .radio import SHAPES, RadioTower, RadioVisual
from .timm_tower import TimmTower
from .tower import PoolReading, Tower

FAMILIES = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "eva")  # timm's modules of towers like ViT
CUSTOM = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")


@dataclass(frozen=True)
class Outline:
    """What a tower has: its kind of blocks, how many, tokens before the patches, and what it pools them by."""

    kind: str
    depth: int
    prefix: int
    patch: int
    pooling: str
    has_class_token: bool


def tower_of(arch: str, visual: nn.Module, reading: PoolReading = "values") -> Tower:
    """open_clip's picture tower `visual` as it is read; `reading` is of attention pooling. Raises InputError."""
    if reading not in get_args(PoolReading):
        raise InputError(f"attention_pool is {reading!r}; choose one of {', '.join(get_args(PoolReading))}")
    try:
        tower = _tower(visual, reading)
    except InputError as error:
        raise InputError(f"{arch} has a picture tower that is not read: {error}") from error
    if reading != "values" and _pooling(tower) != "attention":
        raise InputError(f"attention_pool={reading!r} is of towers that pool by attention; {arch} does not")
    return tower


def _tower(visual: nn.Module, reading: PoolReading) -> Tower:
    if isinstance(visual, RadioVisual):
        return RadioTower(visual)
    if isinstance(visual, TimmModel):
        return TimmTower(visual, reading)
    if not isinstance(visual, VisionTransformer):
        raise InputError("it is a ResNet, which has no blocks of attention")
    kind = type(visual.transformer.resblocks[0]).__name__
    if kind != "ResidualAttentionBlock":
        raise InputError(f"its blocks are of open_clip's kind {kind}")
    return OwnTower(visual, reading)


def refuse_unread(arch: str, config: dict) -> None:
    """Refuses what no method reads, by open_clip's config of it. Raises InputError."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "hf_model_name" in text:
        raise InputError(
            f"{arch} has a text tower of Hugging Face's ({text['hf_model_name']}), and open_clip's own are read"
        )
    if name := vision.get("timm_model_name"):
        if not timm.is_model(name):
            raise InputError(f"{arch} has a picture tower that timm {timm.__version__} does not know, {name}")
        family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
        if family not in FAMILIES:
            raise InputError(f"{arch} has a picture tower of timm's {family} ({name}), no plain vision transformer")
    elif isinstance(vision.get("layers"), list | tuple):
        raise InputError(f"{arch} is a ResNet, which has no blocks of attention")
    elif isinstance(vision.get("attentional_pool"), str):
        raise InputError(f"{arch} has two poolings of attention ({vision['attentional_pool']})")
    elif vision.get("block_type") == "custom" or any(vision.get(key) for key in CUSTOM):
        raise InputError(f"{arch} has blocks of attention of open_clip's custom kind")


def rules_of(arch: str) -> tuple[str, ...]:
    """How positions may be resampled in a tower, its own rule first."""
    return (RadioTower if arch in SHAPES else Tower).rules


def outline(arch: str) -> Outline:
    """Of RADIO, or of open_clip's model of that name. Raises InputError for one that is not read."""
    if arch in SHAPES:
        shape = SHAPES[arch]
        return Outline("RADIO", shape.depth, shape.prefix, shape.patch, "class token", True)
    config = open_clip.get_model_config(arch)
    refuse_unread(arch, config)
    return _outline(arch, json.dumps(config, sort_keys=True))


@cache
def _outline(arch: str, content: str) -> Outline:
    config = json.loads(content)
    vision = config["vision_cfg"]
    if "timm_model_name" not in vision:
        pooling = "attention" if vision.get("attentional_pool") else vision.get("pool_type", "tok")
        pooling = {"tok": "class token", "avg": "mean"}.get(pooling, pooling)
        return Outline("open_clip ViT", vision["layers"], 1, vision["patch_size"], pooling, True)
    settings = {key: vision.get(f"timm_{key}") for key in ("pool", "proj")}
    with torch.device("meta"):
        visual = TimmModel(
            vision["timm_model_name"], config["embed_dim"], vision.get("image_size", 224), **_without_none(settings)
        )
    tower = tower_of(arch, visual)
    kind = type(visual.trunk).__name__
    kind = {"VisionTransformer": "timm ViT", "Eva": "timm EVA"}.get(kind, kind)
    return Outline(kind, len(tower.blocks), tower.prefix, tower.patch, _pooling(tower), tower.has_class_token)


def _without_none(settings: dict) -> dict:
    """timm_proj None stands for the head of the network itself; timm_pool's default is open_clip's."""
    return {"proj": settings["proj"] or ""} | ({} if settings["pool"] is None else {"pool": settings["pool"]})


def _pooling(tower: Tower) -> str:
    if isinstance(tower, RadioTower):
        own = "token"
    elif isinstance(tower, OwnTower):
        own = "attention" if tower.visual.attn_pool is not None else tower.visual.pool_type
    else:
        own = tower.visual.trunk.global_pool
    return {"tok": "class token", "token": "class token", "avg": "mean", "map": "attention"}.get(own, own)


def refuse_cell(arch: str, tail: dict) -> None:
    """Refuses a tail that needs what the tower does not have, and says what else can. Raises InputError."""
    kind = tail.get("type")
    kind = TAILS.get(kind) if isinstance(kind, str) else kind
    why = class_token_for(kind, tail) if inspect.isclass(kind) else ()
    if not why or outline(arch).has_class_token:
        return
    others = sorted(name for name, other in TAILS.module_dict.items() if not class_token_for(other, {}))
    unless = "" if why == (True,) else f" (for {', '.join(f'{name}={value!r}' for name, value in why)})"
    raise InputError(
        f"{arch} has no class token, which {kind.__name__} reads{unless}; these read such towers: {', '.join(others)}"
    )


def class_token_for(kind: type, settings: dict) -> tuple:
    """(True,) of a tail that reads the class token in any case, else those of its settings for which it does."""
    needs = getattr(kind, "needs_class_token", False)
    if isinstance(needs, bool):
        return (True,) if needs else ()
    parameters = inspect.signature(kind).parameters
    values = {name: settings.get(name, parameters[name].default) for name in needs}
    return tuple((name, value) for name, value in values.items() if value)
