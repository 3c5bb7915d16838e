"""The names that weights go by: wrappers taken off, transformers' CLIP brought into open_clip's, others told apart."""

import re
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError

# What wraps a module while it is trained: data parallel, torch.compile, FSDP, activation checkpoints.
WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
NO_WEIGHTS = re.compile(r"(?:^|\.)(?:position_ids|attn_mask)$")  # constants that some versions kept with the weights
CLIP = ("visual.class_embedding", "visual.conv1.weight")  # by either of them a CLIP is found in a file
TIMM = "visual.trunk.blocks.0.norm1.weight"  # and by this one that has a tower of timm's
TEXT = ("text_projection", "positional_embedding", "token_embedding.", "transformer.", "ln_final.")
EMBEDDING, HEARD, TOKENS = "token_embedding.weight", "token_embedding.heard", 49408  # of CLIP's vocabulary
TRANSFORMERS = "vision_model.embeddings.class_embedding"
# What a model is called within a larger one.
WITHIN = re.compile(
    r"((model|clip|clip_model|base_model|teacher|student|ema|model_ema|backbone|encoder|image_encoder|net)\.)*"
)
PREFERRED = ("teacher.", "ema.", "model_ema.")  # of a file with several models
# Names and what they tell of a file that is no CLIP of the kind that is read.
OTHERS = (
    (r"(^|\.)(lora_[AB]|lora_(up|down))\.", "a LoRA adapter, without the weights that it changes"),
    (r"^model\.diffusion_model\.", "Stable Diffusion's layout"),
    (r"(^|\.)decode_head\.", "a segmentor of mmsegmentation's"),
    (r"(^|\.)mask_decoder\.", "the layout of Segment Anything"),
    (r"^visual\.trunk\.", "open_clip's layout of a timm tower"),
    (r"^visual\.(layer1|stem)\.", "a CLIP with a ResNet"),
    (r"^(text|img|params)/|^params\.", "JAX's layout (big_vision, Flax)"),
    (r"^(vision_model\.|vision_tower\.)", "transformers' layout of another model than CLIPModel"),
    (r"^(encoder\.layer|embeddings\.patch_embeddings)", "transformers' layout of a plain vision transformer"),
    (r"^(blocks\.\d|patch_embed\.)", "timm's layout of a vision transformer (a picture tower without its text)"),
    (r"^transformer\.resblocks\..*|^class_embedding$", "one tower of a CLIP, without the other"),
    (r"^layer1\.0\.", "torchvision's layout of a ResNet"),
)
HALVES = (("vision_model.", "visual."), ("text_model.", ""))
PARTS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "pre_layrnorm": "ln_pre",  # their spelling
    "post_layernorm": "ln_post",
    "final_layer_norm": "ln_final",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def unwrapped(state: dict[str, Tensor], path: Path, anchors: tuple[str, ...]) -> dict[str, Tensor]:
    """The state dict without training's wrappers, of the one model in it that has a tensor of an anchor's name.

    A model within a larger one (`model.`, `teacher.backbone.`) is taken out of it; what is left aside is told.
    """
    names = {name: WRAPPERS.sub("", name) for name in state if not NO_WEIGHTS.search(name)}
    if len(set(names.values())) < len(names):
        raise InputError(f"{path} holds two tensors for one name, once module. and _orig_mod. are taken off")
    clean = {short: state[name] for name, short in names.items()}
    prefixes = {name.removesuffix(anchor) for anchor in anchors for name in clean if name.endswith(anchor)}
    prefixes = {prefix for prefix in prefixes if WITHIN.fullmatch(prefix)}
    if not prefixes or "" in prefixes:
        return clean
    if len(prefixes) > 1:
        likely = [prefix for prefix in prefixes if prefix.startswith(PREFERRED)]
        if len(likely) != 1:
            raise InputError(f"{path} holds several models ({', '.join(sorted(prefixes))}); save the one that is meant")
        prefixes = set(likely)
    prefix = prefixes.pop()
    aside = sorted(name for name in clean if not name.startswith(prefix))
    if aside:
        warnings.warn(
            f"of {path}, what is under {prefix!r} is read; {len(aside)} other tensors are not, e.g. {aside[0]}",
            UserWarning,
            stacklevel=2,
        )
    return {name.removeprefix(prefix): tensor for name, tensor in clean.items() if name.startswith(prefix)}


def as_open_clip(state: dict[str, Tensor], path: Path, apart: bool = False) -> dict[str, Tensor]:
    """A CLIP's state dict in open_clip's names, from its own, OpenAI's or transformers'; others as they come.

    `apart`: whether the text tower is one of its own, under `text.`, in the model that is to be filled.
    """
    state = unwrapped(state, path, (*CLIP, TIMM, TRANSFORMERS))
    if HEARD in state:
        state = _with_all_tokens(state, path)
    if TRANSFORMERS in state and "text_model.embeddings.token_embedding.weight" in state:
        state = _from_transformers(state, path)
    is_apart = "text.token_embedding.weight" in state and "token_embedding.weight" not in state
    if is_apart and not apart:
        return {name.removeprefix("text."): tensor for name, tensor in state.items()}
    if apart and "token_embedding.weight" in state:
        return {f"text.{name}" if name.startswith(TEXT) else name: tensor for name, tensor in state.items()}
    return state


def _with_all_tokens(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A state whose embeddings are those of some tokens alone, with zeros for the others, as `toy/train12.py` keeps it.

    Raises InputError.
    """
    if EMBEDDING not in state:
        raise InputError(f"{path} has {HEARD} without {EMBEDDING}")
    heard, rows = state[HEARD], state[EMBEDDING]
    if heard.ndim != 1 or len(heard) != len(rows) or heard.is_floating_point():
        raise InputError(f"{path} has {tuple(rows.shape)} embeddings for {tuple(heard.shape)} tokens in {HEARD}")
    if not ((heard >= 0) & (heard < TOKENS)).all():
        raise InputError(f"{path} has tokens in {HEARD} that CLIP's vocabulary of {TOKENS} has not")
    whole = rows.new_zeros(TOKENS, *rows.shape[1:])
    whole[heard.long()] = rows
    return {name: tensor for name, tensor in state.items() if name != HEARD} | {EMBEDDING: whole}


def text_tower_of(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The text tower of a CLIP by open_clip's names of one that is by itself; of SigLIP in transformers' names too."""
    clean = {WRAPPERS.sub("", name): tensor for name, tensor in state.items() if not NO_WEIGHTS.search(name)}
    if "text_model.head.weight" in clean:
        half = {name: tensor for name, tensor in clean.items() if name.startswith("text_model.")}
        found = _from_transformers(half, path)
        return {re.sub(r"^head\.", "text_projection.", name): tensor for name, tensor in found.items()}
    found = as_open_clip(state, path, apart=True)
    return {name.removeprefix("text."): tensor for name, tensor in found.items() if name.startswith("text.")}


def other_layout(names: set[str]) -> str | None:
    """In words what a state dict holds that is no CLIP; None of one that is, or that nothing is known of."""
    if names.intersection(CLIP) and not any(re.search(r"(^|\.)lora_", name) for name in names):
        return None
    return next((what for pattern, what in OTHERS if any(re.search(pattern, name) for name in names)), None)


def _from_transformers(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    found, split = {}, {}
    for name, tensor in state.items():
        half = next((pair for pair in HALVES if name.startswith(pair[0])), None)
        if half is None:
            is_projection = name in ("visual_projection.weight", "text_projection.weight")
            if is_projection and tensor.ndim != 2:
                raise InputError(f"{path} has {name} of shape {tuple(tensor.shape)}, and it is a matrix")
            own = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}.get(
                name, name
            )
            found[own] = tensor.T if is_projection else tensor
            continue
        rest = name.removeprefix(half[0]).replace("encoder.layers.", "transformer.resblocks.")
        if match := re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)", rest):
            split.setdefault(f"{half[1]}{match[1]}.attn.in_proj_{match[3]}", {})[match[2]] = tensor
            continue
        for theirs, ours in PARTS.items():
            rest = re.sub(rf"(?:(?<=\.)|^){re.escape(theirs)}(?=\.|$)", ours, rest)
        found[half[1] + rest] = tensor
    for name, parts in split.items():
        if parts.keys() != set("qkv") or len({part.shape for part in parts.values()}) > 1 or parts["q"].ndim == 0:
            raise InputError(f"{path} lacks a part of {name} (q, k and v of one shape)")
        found[name] = torch.cat([parts[part] for part in "qkv"])
    return found
