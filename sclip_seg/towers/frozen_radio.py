"""RADIO and the text tower of its teacher as one frozen model: two files, as they are published."""

from pathlib import Path

import open_clip.model
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..words import tokenizers
from ..words.text_tower import width_of
from . import checkpoint, facts, snapshot, weights
from .adaptor import Residual
from .frozen import Frozen, tokenizer_places
from .layouts import text_tower_of
from .radio import SHAPES, WORDS, RadioVisual, Words
from .radio_file import WHERE, load_visual
from .stock import config_of


class RadioCLIP(nn.Module):
    """What is read of a CLIP: a picture tower, and a text tower of open_clip's."""

    def __init__(self, visual: RadioVisual, text: nn.Module) -> None:
        super().__init__()
        self.visual, self.text, self.context_length = visual, text, text.context_length

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features (B, D) of token ids (B, L)."""
        return self.text(tokens)


class FrozenRADIO(Frozen):
    """RADIO of `radio.SHAPES` and its words; arguments as `DenseCLIP`'s. Of random weights where `pretrained` is None.

    Which text tower reads them is what the file says of its teacher (`radio.WORDS`). Its weights are looked for as any
    of open_clip's tags is; of a repository of the hub, first in the folder of its name in `folder`.
    """

    def __init__(
        self,
        arch: str,
        pretrained: str | None,
        quick_gelu: bool | str | None,
        folder: str,
        seed: int,
        mean: tuple[float, float, float] | None,
        std: tuple[float, float, float] | None,
    ) -> None:
        shape, known = SHAPES[arch], facts.Facts(False, None, None, "arch")
        words = WORDS[shape.words]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if pretrained is None:
                out = config_of(words.arch)["embed_dim"]
                visual, text = RadioVisual(shape, Residual(shape.width, shape.width, out)), built(words)
            else:
                visual, known, words = load_visual(_found(arch, pretrained, folder), arch, shape)
                text = loaded(words, folder)
        inputs = facts.settle(arch, False, pretrained, known, None if quick_gelu == "known" else quick_gelu, mean, std)
        clip = RadioCLIP(visual, text)
        width = visual.head(torch.zeros(1, shape.width)).shape[1]
        if width != width_of(clip):
            raise InputError(f"{pretrained} speaks of {width} dimensions, and {words.arch} of {width_of(clip)}")
        super().__init__(arch, pretrained, clip, inputs, words=words.arch)


def built(words: Words) -> nn.Module:
    """The text tower alone of open_clip's model, with random weights. Raises InputError."""
    config = config_of(words.arch)
    return open_clip.model._build_text_tower(config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False))


def loaded(words: Words, folder: str) -> nn.Module:
    """The same with its weights. Raises InputError."""
    tokenizers.refuse_missing(words.arch)
    quick = config_of(words.arch).get("quick_gelu", False)
    facts.settle(words.arch, quick, words.weights, facts.of_name(words.arch, words.weights), None, None, None)
    own = Path(folder) / words.weights.removeprefix(snapshot.HUB)
    try:
        path = weights.find(words.arch, str(own) if own.is_dir() else words.weights, folder)
    except InputError as error:
        if not words.weights.startswith(snapshot.HUB):
            raise
        raise InputError(
            f"the text tower of RADIO's teacher, {words.weights}, is not on this machine and cannot be downloaded; put "
            f"its model.safetensors, tokenizer.json and tokenizer_config.json at {own}"
        ) from error
    text = built(words)
    weights.fill(text, text_tower_of(checkpoint.read(path).state, path), path, words.arch)
    tokenizers.look_in(words.arch, tokenizer_places(words.arch, path, folder))
    return text


def _found(arch: str, pretrained: str, folder: str) -> Path:
    try:
        return weights.find(arch, pretrained, folder)
    except InputError as error:
        raise InputError(f"{error}; {arch} is read from {WHERE}") from error
