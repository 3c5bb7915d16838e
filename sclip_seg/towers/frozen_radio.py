"""RADIO and the text tower of its teacher as one frozen model: two files, as they are published."""

import open_clip.model
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..words import tokenizers
from ..words.text_tower import width_of
from . import checkpoint, facts, weights
from .adaptor import Residual
from .frozen import Frozen, tokenizer_places
from .layouts import as_open_clip
from .radio import SHAPES, RadioVisual, Shape
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

    The text tower is looked for as any of open_clip's tags is.
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
        asked = None if quick_gelu == "known" else quick_gelu
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if pretrained is None:
                config = config_of(shape.text)
                visual = RadioVisual(shape, Residual(shape.width, shape.width, config["embed_dim"]))
            else:
                tokenizers.refuse_missing(shape.text)
                visual, known = self._visual(arch, pretrained, folder, shape)
            inputs = facts.settle(arch, False, pretrained, known, asked, mean, std)
            clip = RadioCLIP(visual, text_tower(shape, None if pretrained is None else folder))
        width = visual.head(torch.zeros(1, shape.width)).shape[1]
        if width != width_of(clip):
            raise InputError(f"{pretrained} speaks of {width} dimensions, and {shape.text} of {width_of(clip)}")
        super().__init__(arch, pretrained, clip, inputs, words=shape.text)

    @staticmethod
    def _visual(arch: str, pretrained: str, folder: str, shape: Shape) -> tuple[RadioVisual, facts.Facts]:
        try:
            path = weights.find(arch, pretrained, folder)
        except InputError as error:
            raise InputError(f"{error}; {arch} is read from {WHERE}") from error
        return load_visual(path, arch, shape)


def text_tower(shape: Shape, folder: str | None) -> nn.Module:
    """The text tower alone of open_clip's model `shape.text`, its weights found as `weights.find` does; None: random.

    Raises InputError.
    """
    config = config_of(shape.text)
    quick = config.get("quick_gelu", False)
    text = open_clip.model._build_text_tower(config["embed_dim"], config["text_cfg"], quick)
    if folder is None:
        return text
    facts.settle(shape.text, quick, shape.tag, facts.of_name(shape.text, shape.tag), None, None, None)
    path = weights.find(shape.text, shape.tag, folder)
    state = as_open_clip(checkpoint.read(path).state, path, apart=True)
    own = {name.removeprefix("text."): tensor for name, tensor in state.items() if name.startswith("text.")}
    weights.fill(text, own, path, shape.text)
    tokenizers.look_in(shape.text, tokenizer_places(shape.text, path, folder))
    return text
