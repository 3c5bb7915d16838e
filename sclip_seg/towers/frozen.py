"""A frozen CLIP with its weights: built, checked and cast in one place, for one reader of it or for many."""

from pathlib import Path
from typing import Literal, NamedTuple
from weakref import WeakSet

import torch
from open_clip.transformer import LayerNorm, LayerNormFp32
from torch import Tensor, nn

from ..errors import InputError
from ..words import tokenizers
from . import checkpoint, facts, kinds, snapshot, stock, weights

NORMS = nn.LayerNorm | nn.BatchNorm2d
FP32 = ("logit_scale", "logit_bias", "class_embedding", "positional_embedding", "pos_embed")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Frozen:
    """A model `clip` with a picture tower `visual` and a text tower, and what is known of its weights.

    `words` is open_clip's name of the model whose text tower that is, `inputs` are its activation and pixel statistics
    with their sources (`facts`), `digest` is that of all weights, and `readers` are the models (`DenseCLIP`) that read
    it.
    """

    def __init__(self, arch: str, pretrained: str | None, clip: nn.Module, inputs: facts.Inputs, words: str) -> None:
        self.arch, self.pretrained, self.clip, self.inputs, self.words = arch, pretrained, clip, inputs, words
        self.digest, self.precision = weights.digest(clip), "fp32"
        self.readers: WeakSet[nn.Module] = WeakSet()
        clip.requires_grad_(False).eval()

    def set_precision(self, precision: str) -> None:
        """Casts the frozen weights to 'fp32', 'bf16' or 'fp16', as open_clip does its own. It cannot be undone."""
        if precision not in DTYPES:
            raise InputError(f"precision is {precision!r}; choose one of {', '.join(DTYPES)}")
        if precision == self.precision:
            return
        if self.precision != "fp32":
            raise InputError(f"the weights are {self.precision} already; build the model again for {precision}")
        cast(self.clip, DTYPES[precision])
        keep_norms_fp32(self.clip)
        self.precision = precision


class FrozenCLIP(Frozen):
    """open_clip's model of an architecture; arguments as `DenseCLIP`'s."""

    def __init__(
        self,
        arch: str,
        pretrained: str | None,
        quick_gelu: bool | Literal["known"] | None,
        folder: str,
        seed: int,
        mean: tuple[float, float, float] | None,
        std: tuple[float, float, float] | None,
    ) -> None:
        arch, pretrained = stock.named(arch, pretrained)
        config = stock.config_of(arch)
        kinds.refuse_unread(arch, config)
        own, known, file = config.get("quick_gelu", False), None, None
        if pretrained is not None:
            tokenizers.refuse_missing(arch)
            known = facts.of_name(arch, pretrained)
        if quick_gelu == "known":
            if pretrained is not None and known is None:
                file = _File.read(arch, pretrained, folder)
                known = file.known
            quick_gelu = None if known is None else known.quick_gelu
        inputs = facts.settle(arch, own, pretrained, known, quick_gelu, mean, std)
        if pretrained is not None and file is None:
            file = _File.read(arch, pretrained, folder)  # now: whoever lacks it does not wait for the model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            clip = weights.build_clip(arch, quick_gelu)
        if file is not None:
            if known is None:
                inputs = facts.settle(arch, own, pretrained, file.known, quick_gelu, mean, std)
            elif file.found.openai and not known.quick_gelu:
                raise InputError(f"{file.path} is one of OpenAI's archives, and {pretrained} stands for other weights")
            weights.load(clip, file.found, file.path, arch)
            facts.tell(inputs, file.path)
            tokenizers.look_in(arch, tokenizer_places(arch, file.path, folder))
        super().__init__(arch, pretrained, clip, inputs, words=arch)


class _File(NamedTuple):
    """The file of weights, what it holds, and what it says of itself."""

    path: Path
    found: checkpoint.Checkpoint
    known: facts.Facts | None

    @classmethod
    def read(cls, arch: str, pretrained: str, folder: str) -> "_File":
        path = weights.find(arch, pretrained, folder)
        found = checkpoint.read(path)
        return cls(path, found, facts.of_file(path, found.openai))


def tokenizer_places(arch: str, path: Path, folder: str) -> list[Path]:
    """Folders where the files of a model's tokenizer may lie: beside its weights, and by its name."""
    beside = [path.parent] if path.name in (*snapshot.OPEN_CLIP, *snapshot.TRANSFORMERS) else []
    name = tokenizers.name_of(arch)
    return [*beside, *([] if name is None else [Path(folder) / name])]


def cast(clip: nn.Module, dtype: torch.dtype) -> None:
    """Casts all weights but those of norms and embeddings, of positions, and the logits' scale and bias."""
    for module in clip.modules():
        if isinstance(module, NORMS | nn.Embedding):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if name not in FP32:
                parameter.data = parameter.data.to(dtype)


class Fp32Norm(nn.Module):
    """A norm of another library that computes in fp32 and casts back."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """As the norm."""
        return self.norm(x.float()).to(x.dtype)


def keep_norms_fp32(module: nn.Module) -> None:
    """Makes every LayerNorm compute in fp32 and cast back, as towers built for half precision have it."""
    for name, child in module.named_children():
        if type(child) is LayerNorm:
            norm = LayerNormFp32(child.normalized_shape, eps=child.eps)
            norm.weight, norm.bias = child.weight, child.bias
            setattr(module, name, norm.eval())
        elif isinstance(child, nn.LayerNorm) and not isinstance(child, LayerNormFp32):
            setattr(module, name, Fp32Norm(child))
        else:
            keep_norms_fp32(child)
