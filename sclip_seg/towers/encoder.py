"""`DenseCLIP`: a frozen, stock open_clip tower whose end is read by a tail."""

import math
from collections.abc import Iterable

import torch
from open_clip.model import convert_weights_to_lp
from open_clip.transformer import LayerNorm, LayerNormFp32
from torch import Tensor, nn

from ..errors import InputError
from ..registry import MODELS, TAILS
from ..settings import Seed, checked
from ..words.text import TextBank
from . import checkpoint, facts, stock, weights
from .attention import AttentionMaps
from .block import run_block
from .guide import Guide
from .positions import RULES, resample
from .tail import Gathered, Tail
from .trace import Trace, Trunk, position

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@MODELS.register_module()
@checked
class DenseCLIP(nn.Module):
    """Patch features of a frozen CLIP: windows (N, 3, H, W) -> trunk -> `Trace` -> tail -> (N, D, h, w).

    Sides that the patch does not divide are read as published: floor(side / patch) patches, the rest unseen.

    Args:
        arch: open_clip's name of the model, any ViT with a class token (`ViT-B-16`, `toy`, ...); or `hf-hub:OWNER/NAME`
            or `local-dir:FOLDER`, whose config says it and whose weights are taken.
        pretrained: one of its tags, a local file (safetensors, a state dict, OpenAI's archive; in open_clip's or
            transformers' names), a folder or `hf-hub:` or `local-dir:` name with such a file, `'toy'`, or None for
            random weights.
        tail: config of the tail, e.g. `dict(type='LastBlock', attention='csa')`.
        quick_gelu: QuickGELU activations, which OpenAI, MetaCLIP and DFN trained with; None leaves it to `arch`. It
            must be what is known of the weights (`facts`).
        positions: how positions are resampled (`positions.RULES`).
        folder: where weights are looked for as ARCH.TAG.safetensors before they are downloaded.
        seed: of the random weights, when there are no others.
        mean, std: the pixels' statistics in [0, 1], RGB, of weights of which they are not known; None is OpenAI's.
        compile: run the blocks through torch.compile, which needs a compiler on the machine.
    Raises:
        InputError: no such model or weights; weights that do not fit; another activation or other pixel statistics
            than the weights were trained with.
    """

    def __init__(
        self,
        arch: str,
        pretrained: str | None,
        tail: dict,
        quick_gelu: bool | None = None,
        positions: str = "sclip",
        folder: str = "data/weights",
        seed: Seed = 0,
        compile: bool = False,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__()
        if positions not in RULES:
            raise InputError(f"positions is {positions!r}; choose one of {', '.join(RULES)}")
        arch, pretrained = stock.named(arch, pretrained)
        config = stock.config_of(arch)
        stock.refuse_unread(arch, config)
        own = config.get("quick_gelu", False)
        known = None if pretrained is None else facts.of_name(arch, pretrained)
        inputs = facts.settle(arch, own, pretrained, known, quick_gelu, mean, std)
        self.arch, self.pretrained, self.position_rule = arch, pretrained, positions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = weights.build_clip(arch, quick_gelu)
        visual = self.clip.visual
        if not hasattr(visual, "class_embedding") or getattr(visual, "attn_pool", None) is not None:
            raise InputError(f"{arch} is no ViT with a class token, which is what the methods read")
        if type(visual.transformer.resblocks[0]).__name__ != "ResidualAttentionBlock":
            raise InputError(f"{arch} has blocks of its own kind, and the methods read CLIP's plain ones")
        if not hasattr(self.clip, "token_embedding"):
            raise InputError(f"{arch} has a text tower of its own kind; only CLIP's plain one is read")
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
        self.inputs, self.mean, self.std = inputs, inputs.mean, inputs.std
        self.digest = weights.digest(self.clip)
        self.tail: Tail = TAILS.build(tail)
        self.edit = self.tail.edit(visual)
        self.precision = "fp32"
        self.run = torch.compile(run_block) if compile else run_block
        self.requires_grad_(False).eval()

    @property
    def quick_gelu(self) -> bool:
        """Whether the tower computes QuickGELU."""
        return any("QuickGELU" in type(module).__name__ for module in self.clip.visual.modules())

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.clip.visual.conv1.kernel_size[0]

    @property
    def unit(self) -> int:
        """Pixels that both the patch and the tail's guide divide."""
        return math.lcm(self.patch, self.tail.unit)

    @property
    def end(self) -> dict:
        """The fields of a `Trunk`."""
        visual = self.clip.visual
        parts = dict(blocks=visual.transformer.resblocks, ln_post=visual.ln_post, proj=visual.proj)
        return dict(**parts, patch=self.patch, mean=self.mean, std=self.std)

    @property
    def trunk(self) -> Trunk:
        """The parts that a tail reads a picture with."""
        return Trunk(**self.end)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the trunk computes in; LayerNorm parameters and positions stay fp32."""
        return DTYPES[self.precision]

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
        for guide in self.tail.modules():
            if isinstance(guide, Guide):
                guide.to(DTYPES[precision])
        self.precision = precision

    def trace(self, image: Tensor, blocks: Iterable[int] = ()) -> Trace:
        """Runs the trunk on normalised windows (N, 3, H, W), as far as the tail reads.

        `blocks`: more of them whose output is wanted, counted as `Tail.reads` counts.
        """
        visual = self.clip.visual
        x = visual.conv1(image.to(self.dtype))
        grid = tuple(x.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        native = tuple(n // self.patch for n in _pair(visual.image_size))
        table = resample(visual.positional_embedding, native, grid, self.position_rule)
        start = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = visual.ln_pre(torch.cat([start, x], dim=1) + table.to(x.dtype))

        resblocks = visual.transformer.resblocks
        depth = len(resblocks)
        wanted = {position(block, depth) for block in (*self.tail.reads(depth), *blocks)}
        states = {-1: x} if -1 in wanted else {}
        for index in range(max(wanted) + 1):
            block = resblocks[index]
            x = self.run(block, x) if self.edit is None else self.edit(block, x, grid, index == depth - 1)
            if index in wanted:
                states[index] = x
        return Trace(**self.end, image=image, grid=grid, states=states)

    def forward(self, image: Tensor, text: TextBank | None = None) -> Tensor:
        """Patch features (N, D, h, w) of normalised windows (N, 3, H, W), as the tail reads them."""
        return self.tail(self.trace(image), text)

    def score(self, image: Tensor, text: TextBank) -> Tensor:
        """Scores (N, Q, h, w), fp32, of normalised windows (N, 3, H, W) with the queries, each window by itself."""
        return self.tail.score(self.trace(self.tail.views(image)), text)

    def gather(self, image: Tensor, text: TextBank) -> Gathered:
        """What the tail keeps of normalised windows (N, 3, H, W), to read the picture by."""
        return self.tail.gather(self.trace(self.tail.views(image)), text)

    def keep(self, image: Tensor, text: TextBank, features: bool = False, summary: bool = False) -> dict[str, Gathered]:
        """What the tail keeps of normalised windows (N, 3, H, W), as `tail`, and their `features` and `summary`."""
        trace = self.trace(self.tail.views(image), (-2,) if summary else ())
        kept: dict[str, Gathered] = {"tail": self.tail.gather(trace, text)}
        if features:
            kept["features"] = self.tail.features(trace, text)[: len(image)]
        if summary:
            kept["summary"] = self.tail.summary(trace)[: len(image)]
        return kept

    def summary(self, image: Tensor) -> Tensor:
        """The unit feature of normalised windows (N, 3, H, W) as a whole, (N, D), fp32."""
        return self.tail.summary(self.trace(image, (-2,)))

    def is_last(self, block: int) -> bool:
        """Whether a block, counted from 0 or from the end as -1, is the last one."""
        return block in (-1, len(self.clip.visual.transformer.resblocks) - 1)

    def attention_maps(self, image: Tensor, text: TextBank | None, block: int = -1) -> AttentionMaps:
        """What the tokens of normalised windows (N, 3, H, W) look at in a block, as the scores are computed.

        Of a method that scores several views of a window (`Tail.views`), in the window as it is.
        """
        depth = len(self.clip.visual.transformer.resblocks)
        index = position(block, depth)
        if index < 0:
            raise InputError(f"block {block} is asked for, and the tower has {depth}")
        trace = self.trace(image, (index - 1 - depth,))
        return self.tail.attention_maps(trace, text, block)


def keep_norms_fp32(module: nn.Module) -> None:
    """Makes every LayerNorm compute in fp32 and cast back, as towers built for half precision have it."""
    for name, child in module.named_children():
        if type(child) is LayerNorm:
            norm = LayerNormFp32(child.normalized_shape, eps=child.eps)
            norm.weight, norm.bias = child.weight, child.bias
            setattr(module, name, norm.eval())
        else:
            keep_norms_fp32(child)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
