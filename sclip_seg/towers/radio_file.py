"""RADIO's weights as NVIDIA publishes them, read as data: the trunk, and two adaptors of its teachers.

The file for torch.hub (`c-radio_v3-b_half.pth.tar`) has all of it: arguments, of which `teachers` are a list of
settings, and a state dict with the trunk under `base_model.`, adaptors under `_heads.N.` and `_feature_projections.N.`,
N being a teacher's name or its place in that list. `model.safetensors` on Hugging Face has the trunk under
`radio_model.model.` and no adaptor for words.
"""

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError
from . import checkpoint, facts
from .adaptor import adaptor_for
from .layouts import WRAPPERS
from .radio import WORDS as KNOWN
from .radio import RadioVisual, Shape, Words
from .weights import fill

TRUNKS = {"base_model.": "", "radio_model.model.": "radio_model."}  # and what its other parts are under
WORDS = "siglip2", "siglip2-g"  # the teacher that has words is of this type, or else of such a name
SAM = ("sam",)
WHERE = "NVIDIA's files for torch.hub, e.g. c-radio_v3-b_half.pth.tar of https://huggingface.co/nvidia/C-RADIOv3-B"


def load_visual(path: Path, arch: str, shape: Shape) -> tuple[RadioVisual, facts.Facts, Words]:
    """The trunk with its adaptors, what the file says of its pixels, and whose its words are.

    Raises:
        InputError: a file of another kind, or of another model; one without an adaptor of SigLIP 2's.
    """
    found = checkpoint.read(path, checkpoint.AVERAGES[:1])
    state = {WRAPPERS.sub("", name): tensor for name, tensor in found.state.items()}
    root = next((root for root in TRUNKS if any(name.startswith(root) for name in state)), None)
    if root is None:
        raise InputError(f"{path} holds no RADIO (nothing under {' or '.join(TRUNKS)}); these do: {WHERE}")
    trunk, rest = _under(state, root), _under(state, TRUNKS[root])
    if not any(name.startswith("_heads.") for name in rest):
        raise InputError(f"{path} holds RADIO's trunk without the adaptor for words; these have it: {WHERE}")
    teachers = _teachers(found.args, path)
    words = _teacher(teachers, WORDS)
    if words is None:
        names = ", ".join(str(entry.get("name")) for entry in teachers)
        raise InputError(f"{path} has no teacher {' or '.join(WORDS)}, whose words are known; it has: {names}")
    parts = {"head": _adaptor(rest, "_heads.", words, teachers)}
    if not parts["head"]:
        raise InputError(f"{path} lacks the adaptor of its teacher {teachers[words]['name']!r}")
    sam = _teacher(teachers, SAM)
    parts["sam"] = {} if sam is None else _adaptor(rest, "_feature_projections.", sam, teachers)
    normaliser = _under(rest, "_feature_normalizer.") or _under(rest, "feature_normalizer.")
    shape = _sized(trunk, shape, path)
    head, second = (_empty(part, name, shape.width, path) for name, part in parts.items())
    with torch.random.fork_rng(devices=[]):  # what is drawn is filled at once
        visual = RadioVisual(shape, head, second, bool(normaliser))
    ours = _trunk_names(trunk, shape, _slot(teachers, words, shape, path), path)
    ours |= {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.items()}
    ours |= {f"normaliser.{key}": tensor.squeeze(0) if key == "mean" else tensor for key, tensor in normaliser.items()}
    fill(visual, ours, path, arch, "Is the backbone the right one?")
    return visual, _pixels(rest, path), _words(teachers[words], shape, path)


def _under(state: dict[str, Tensor], root: str) -> dict[str, Tensor]:
    return {name.removeprefix(root): tensor for name, tensor in state.items() if name.startswith(root)}


def _teachers(args: dict, path: Path) -> list[dict]:
    teachers = args.get("teachers")
    if not isinstance(teachers, list | tuple) or not all(isinstance(entry, dict) for entry in teachers):
        raise InputError(f"{path} does not say its teachers (a list under args.teachers); these do: {WHERE}")
    return list(teachers)


def _teacher(teachers: list[dict], known: tuple[str, ...]) -> int | None:
    """The place of the first whose type is the first of `known`, or else whose name is any of them."""
    of_type = [place for place, entry in enumerate(teachers) if entry.get("type") == known[0]]
    named = [place for place, entry in enumerate(teachers) if entry.get("name") in known]
    return next(iter(of_type + named), None)


def _words(teacher: dict, shape: Shape, path: Path) -> Words:
    """Of the model that a teacher was."""
    model = teacher.get("model") or shape.words
    if not isinstance(model, str) or model not in KNOWN:
        raise InputError(f"{path} was taught words by {model!r}; those of {', '.join(KNOWN)} are known")
    return KNOWN[model]


def _slot(teachers: list[dict], place: int, shape: Shape, path: Path) -> int:
    """Which of the first tokens is a teacher's."""
    slot = teachers[place].get("token_slot", place)
    if not isinstance(slot, int) or isinstance(slot, bool) or not 0 <= slot < shape.prefix:
        raise InputError(f"{path} gives a teacher the token {slot!r}, and has {shape.prefix} before the patches")
    return slot


def _adaptor(state: dict[str, Tensor], root: str, place: int, teachers: list[dict]) -> dict[str, Tensor]:
    return _under(state, f"{root}{place}.") or _under(state, f"{root}{teachers[place].get('name')}.")


def _empty(state: dict[str, Tensor], name: str, width: int, path: Path) -> nn.Module | None:
    if not state:
        return None
    adaptor = adaptor_for(state, f"the adaptor {name!r} in {path}")
    if adaptor.fc1.in_features != width:
        raise InputError(f"{path} has an adaptor of tokens of {adaptor.fc1.in_features}, and its trunk's have {width}")
    return adaptor


def _sized(trunk: dict[str, Tensor], shape: Shape, path: Path) -> Shape:
    """The shape with the table and the tokens that the file has."""
    table, tokens = (trunk.get(f"patch_generator.{name}") for name in ("pos_embed", "cls_token.token"))
    if table is None or tokens is None or (table.ndim, tokens.ndim) != (3, 2) or 0 in (*table.shape, *tokens.shape):
        raise InputError(f"{path} holds no RADIO: its table of positions or its first tokens are missing, or odd")
    side = math.isqrt(table.shape[1])
    if side**2 != table.shape[1]:
        raise InputError(f"{path} has a table of {table.shape[1]} positions, which is no square")
    return replace(shape, table=side, prefix=len(tokens))


def _trunk_names(trunk: dict[str, Tensor], shape: Shape, first: int, path: Path) -> dict[str, Tensor]:
    """The trunk by our names; the `first` token of the words' teacher goes before the others."""
    start = "patch_generator."
    ours = {name.replace(".grandma", ".gamma"): tensor for name, tensor in trunk.items() if not name.startswith(start)}
    parts = _under(trunk, start)
    tokens, kernel = parts.pop("cls_token.token"), parts.pop("embedder.weight", None)
    if kernel is None or kernel.shape[1:] != (3 * shape.patch**2,):
        raise InputError(f"{path} holds no RADIO of patches of {shape.patch} pixels")
    ours["embedder.weight"] = kernel.unflatten(1, (3, shape.patch, shape.patch))
    ours["pos_embed"] = parts.pop("pos_embed")[0]
    ours["class_embedding"] = tokens[[first, *(row for row in range(len(tokens)) if row != first)]]
    return ours | {f"{start}{name}": tensor for name, tensor in parts.items()}  # of which there are none


def _pixels(state: dict[str, Tensor], path: Path) -> facts.Facts:
    """GELU, and the statistics that the file has; CLIP's are RADIO's where it has none."""
    held = [state.get(f"input_conditioner.norm_{name}") for name in ("mean", "std")]
    if any(part is None for part in held):
        return facts.Facts(False, *facts.STATISTICS["openai"], "arch")
    numbers = zip(held, ("mean", "std"), strict=True)
    return facts.Facts(
        False, *(facts.triple(part.flatten().tolist(), name, str(path)) for part, name in numbers), "file"
    )
