"""open_clip's stock models by their configs: which one a folder's or the hub's describes, and which are not read."""

from pathlib import Path

import open_clip

from ..errors import InputError
from . import snapshot
from .kinds import refuse_unread

# What transformers leaves out of a CLIPModel's config.json.
VISION = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32)
TEXT = dict(hidden_size=512, num_hidden_layers=12, num_attention_heads=8, max_position_embeddings=77, vocab_size=49408)


def config_of(arch: str) -> dict:
    """open_clip's config of a model of that name. Raises InputError."""
    if not isinstance(arch, str) or arch not in open_clip.list_models():
        raise InputError(f"open_clip {open_clip.__version__} has no model {arch!r}; see open_clip.list_models()")
    return open_clip.get_model_config(arch)


def named(arch: str, pretrained: str | None) -> tuple[str, str | None]:
    """Stock name and weights of `hf-hub:OWNER/NAME` or `local-dir:FOLDER` given as `arch`; others as they are.

    Raises:
        InputError: no such folder or repository, a model that open_clip has no name for, weights named twice.
    """
    if not isinstance(arch, str) or not snapshot.is_named(arch):
        return arch, pretrained
    if pretrained not in (None, arch):
        raise InputError(
            f"arch={arch} names its own weights, and pretrained={pretrained!r} names others; set pretrained=None"
        )
    found = snapshot.config_beside(snapshot.weights_in(arch))
    if found is None:
        raise InputError(
            f"{arch} has no config beside its weights; set arch to open_clip's name, and pretrained={arch}"
        )
    return stock_name(*found), arch


def stock_name(path: Path, content: dict) -> str:
    """open_clip's name of the model that a config describes. Raises InputError."""
    model, shape, quick = content.get("model_cfg"), None, False
    if path.name != "open_clip_config.json":
        shape = _of_transformers(content)
    elif isinstance(model, dict) and (shape := _of_open_clip(model)) is not None:
        refuse_unread(path.parent.name, model)
        quick = bool(model.get("quick_gelu"))
    stocks = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    alike = [name for name, config in stocks.items() if shape is not None and _of_open_clip(config) == shape]
    alike.sort(key=lambda name: bool(stocks[name].get("quick_gelu")) != quick)
    if not alike:
        raise InputError(f"{path} describes no model that open_clip {open_clip.__version__} has a name for")
    return alike[0]


def _of_open_clip(config: dict) -> dict | None:
    """Everything of a config but its activation; None where it is no config."""
    if not all(isinstance(config.get(key), dict) for key in ("vision_cfg", "text_cfg")):
        return None
    return {key: value for key, value in config.items() if key not in ("quick_gelu", "custom_text")}


def _of_transformers(content: dict) -> dict | None:
    given = [content.get(f"{side}_config") or {} for side in ("vision", "text")]
    if content.get("model_type") != "clip" or not all(isinstance(part, dict) for part in given):
        return None
    vision, text = VISION | given[0], TEXT | given[1]
    numbers = [*(vision[key] for key in VISION), *(text[key] for key in TEXT), vision.get("intermediate_size", 1)]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return None
    head_width = vision["hidden_size"] // vision["num_attention_heads"]
    ratio = vision.get("intermediate_size", 4 * vision["hidden_size"]) / vision["hidden_size"]
    return {
        "embed_dim": content.get("projection_dim", 512),
        "vision_cfg": dict(
            image_size=vision["image_size"],
            layers=vision["num_hidden_layers"],
            width=vision["hidden_size"],
            patch_size=vision["patch_size"],
        )
        | ({} if head_width == 64 else {"head_width": head_width})
        | ({} if ratio == 4 else {"mlp_ratio": round(ratio, 4)}),
        "text_cfg": dict(
            context_length=text["max_position_embeddings"],
            vocab_size=text["vocab_size"],
            width=text["hidden_size"],
            heads=text["num_attention_heads"],
            layers=text["num_hidden_layers"],
        ),
    }
