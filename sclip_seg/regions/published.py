"""Checkpoints of detectron2's MaskFormers as transformers' networks: nothing but names, and q, k, v apart.

A rule is a pattern of published names and what these become: one name, several that share the tensor evenly along its
first axis, or none, which leaves it out. `PART:NAME` belongs to no network of transformers'. The names are those of
the checkpoints on the hub, which every release of transformers reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import InputError
from ..files import write_atomically
from ..handed_in import existing
from ..towers import checkpoint

Rules = tuple[tuple[str, tuple[str, ...]], ...]
State = dict[str, Tensor]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of the pictures
UNIT = 32  # pixels that pictures are padded to
ENCODER, DECODER = "model.pixel_level_module.encoder", "model.pixel_level_module.decoder"
QUERIES = "model.transformer_module"
UNSURE = -100.0  # logit of nothing in place of a class layer, which these networks ask a text tower instead of

# What training leaves and a trunk that is looked at alone does not have.
ASIDE: Rules = (
    (r"criterion\.empty_weight|(clip_adapter\.|_region_clip_adapter\.)?pixel_(mean|std)", ()),
    (r"_region_clip_adapter\.non_object_embedding", ()),  # the column of nothing is left out
)


def qkv(stem: str) -> tuple[str, ...]:
    """Names for query, key and value of a stem with `{}`."""
    return tuple(stem.format(part) for part in "qkv")


def numbered(rules: Iterable[tuple[str, str]], count: range, shift: int) -> Rules:
    """Rules whose names have numbers that differ by `shift`, `{}` in both."""
    return tuple((old.format(n), (new.format(n + shift),)) for old, new in rules for n in count)


def read(path: str | Path) -> State:
    """The tensors of a checkpoint, read as data."""
    return checkpoint.read(existing(path)).state


def renamed(state: State, rules: Rules, what: str) -> dict[str, State]:
    """Every tensor under its new name, by parts, the network's being `model`.

    Raises InputError for a name that no rule has, or a tensor that cannot be shared.
    """
    parts: dict[str, State] = {}
    unknown = []
    for name, tensor in state.items():
        match, targets = next(((m, new) for old, new in rules if (m := re.fullmatch(old, name))), (None, ()))
        if match is None:
            unknown.append(name)
            continue
        if len(targets) > 1 and (not tensor.ndim or len(tensor) % len(targets)):
            raise InputError(f"{what} has q, k and v in {name}, and {tuple(tensor.shape)} is none of three")
        for target, piece in zip(targets, tensor.chunk(len(targets)) if targets else (), strict=True):
            part, _, new = match.expand(target).rpartition(":")
            parts.setdefault(part or "model", {})[new] = piece.contiguous()
    if unknown:
        raise InputError(f"this is no {what}: it has {len(unknown)} tensors too many, e.g. {unknown[0]}")
    return parts


def shape_of(state: State, name: str, what: str) -> tuple[int, ...]:
    """Raises InputError where there is no such tensor."""
    if name not in state:
        raise InputError(f"this is no {what}: what would be {name} is missing")
    return tuple(state[name].shape)


def count(state: State, stem: str) -> int:
    """How many numbers, from 0, follow the stem of a name."""
    return len({m[1] for name in state if (m := re.match(rf"{re.escape(stem)}\.(\d+)\.", name))})


def classless(width: int) -> State:
    """A class layer that is always sure of something: these networks ask a text tower what."""
    return {"class_predictor.weight": torch.zeros(2, width), "class_predictor.bias": torch.tensor([0.0, UNSURE])}


def network(kind: str, config: object, state: State, own: str, what: str) -> nn.Module:
    """transformers' class of that name with all these weights; it may make those that match `own` itself.

    Raises InputError for weights that are missing, of another shape, or too many.
    """
    import transformers

    build = getattr(transformers, kind).from_pretrained
    with quiet():
        model, report = build(
            None, config=config, state_dict=state, ignore_mismatched_sizes=True, output_loading_info=True
        )
    missing = sorted(name for name in report["missing_keys"] if not re.fullmatch(own, name))
    wrong = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    for names, complaint in (
        (missing, "tensors are missing"),
        (wrong, "tensors are of another shape"),
        (sorted(report["unexpected_keys"]), "tensors too many"),
    ):
        if names:
            raise InputError(f"this is no {what}: {len(names)} {complaint}, e.g. what would be {names[0]}")
    return model.float().eval()


@contextmanager
def quiet() -> Iterator[None]:
    """transformers tells nothing of what it loads: what is wrong is told here, in a line."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def preparation(kind: str, short: int, long: int) -> object:
    """transformers' processor of that name, as detectron2 prepares a picture but for the padding (`restored`)."""
    import transformers

    sides = dict(shortest_edge=short, longest_edge=long)
    return getattr(transformers, kind)(size=sides, size_divisor=0, image_mean=MEAN, image_std=STD, ignore_index=255)


def write(folder: Path, model: nn.Module, prepare: object, parts: dict[str, State]) -> None:
    """A folder that a provider loads, with the other parts beside it, PART.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
        prepare.save_pretrained(folder)
    for part, tensors in parts.items():
        write_atomically(folder / f"{part}.safetensors", save({n: t.contiguous() for n, t in tensors.items()}))


def restored(model: nn.Module) -> nn.Module:
    """The network with what its config says and transformers does not know: dilated convolutions of its last stage."""
    if dilations := getattr(model.config, "multi_grid", None):
        stage = model.model.pixel_level_module.encoder._backbone.layer4
        for block, dilation in zip(stage, dilations, strict=True):
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    return model


def padded(pixels: Tensor, config: object) -> Tensor:
    """Pictures (N, 3, h, w) as the network was trained to see them, with zeros on the right and below."""
    unit = getattr(config, "padded_to", None) or 1
    below, beside = (-side % unit for side in pixels.shape[-2:])
    return F.pad(pixels, (0, beside, 0, below)) if below or beside else pixels


def cut(masks: Tensor, inside: torch.Size, whole: torch.Size) -> Tensor:
    """Mask logits (N, R, h, w) over a padded picture of size `whole`, enlarged, on what is `inside`."""
    if inside == whole:
        return masks
    return F.interpolate(masks, whole, mode="bilinear", align_corners=False)[..., : inside[0], : inside[1]]
