"""A frozen CLIP with its weights: built, checked and cast in one place, for one reader of it or for many."""

from weakref import WeakSet

import torch
from open_clip.model import convert_weights_to_lp
from open_clip.transformer import LayerNorm, LayerNormFp32
from torch import nn

from ..errors import InputError
from . import checkpoint, facts, stock, weights

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class FrozenCLIP:
    """open_clip's model `clip` of an architecture, and what is known of its weights; arguments as `DenseCLIP`'s.

    `inputs` are its activation and pixel statistics with their sources (`facts`), `digest` is that of all weights, and
    `readers` are the models (`DenseCLIP`) that read it.
    """

    def __init__(
        self,
        arch: str,
        pretrained: str | None,
        quick_gelu: bool | None,
        folder: str,
        seed: int,
        mean: tuple[float, float, float] | None,
        std: tuple[float, float, float] | None,
    ) -> None:
        arch, pretrained = stock.named(arch, pretrained)
        config = stock.config_of(arch)
        stock.refuse_unread(arch, config)
        own = config.get("quick_gelu", False)
        known = None if pretrained is None else facts.of_name(arch, pretrained)
        inputs = facts.settle(arch, own, pretrained, known, quick_gelu, mean, std)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = weights.build_clip(arch, quick_gelu)
        _refuse_other_kinds(arch, self.clip)
        if pretrained is not None:
            path = weights.find(arch, pretrained, folder)
            found = checkpoint.read(path)
            if known is None:
                known = facts.of_file(path, found.openai)
                inputs = facts.settle(arch, own, pretrained, known, quick_gelu, mean, std)
            elif found.openai and not known.quick_gelu:
                raise InputError(f"{path} is one of OpenAI's archives, and {pretrained} stands for other weights")
            weights.load(self.clip, found, path, arch)
            facts.tell(inputs, path)
        self.arch, self.pretrained, self.inputs = arch, pretrained, inputs
        self.digest, self.precision = weights.digest(self.clip), "fp32"
        self.readers: WeakSet[nn.Module] = WeakSet()
        self.clip.requires_grad_(False).eval()

    def set_precision(self, precision: str) -> None:
        """Casts the frozen weights, as open_clip does, to 'fp32', 'bf16' or 'fp16'. It cannot be undone."""
        if precision not in DTYPES:
            raise InputError(f"precision is {precision!r}; choose one of {', '.join(DTYPES)}")
        if precision == self.precision:
            return
        if self.precision != "fp32":
            raise InputError(f"the weights are {self.precision} already; build the model again for {precision}")
        convert_weights_to_lp(self.clip, dtype=DTYPES[precision])
        keep_norms_fp32(self.clip)
        self.precision = precision


def _refuse_other_kinds(arch: str, clip: nn.Module) -> None:
    visual = clip.visual
    if not hasattr(visual, "class_embedding") or getattr(visual, "attn_pool", None) is not None:
        raise InputError(f"{arch} is no ViT with a class token, which is what the methods read")
    if type(visual.transformer.resblocks[0]).__name__ != "ResidualAttentionBlock":
        raise InputError(f"{arch} has blocks of its own kind, and the methods read CLIP's plain ones")
    if not hasattr(clip, "token_embedding"):
        raise InputError(f"{arch} has a text tower of its own kind; only CLIP's plain one is read")


def keep_norms_fp32(module: nn.Module) -> None:
    """Makes every LayerNorm compute in fp32 and cast back, as towers built for half precision have it."""
    for name, child in module.named_children():
        if type(child) is LayerNorm:
            norm = LayerNormFp32(child.normalized_shape, eps=child.eps)
            norm.weight, norm.bias = child.weight, child.bias
            setattr(module, name, norm.eval())
        else:
            keep_norms_fp32(child)
