"""`DenseCLIP`: a frozen tower, open_clip's stock ones or RADIO, whose end is read by a tail."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..registry import MODELS, TAILS, only_one
from ..settings import Seed, checked
from ..words.text import TextBank
from . import stock
from .attention import AttentionMaps
from .block import run_block
from .edit import Edit
from .frozen import DTYPES, FrozenCLIP
from .frozen_radio import FrozenRADIO
from .guide import Guide
from .kinds import outline, refuse_cell, rules_of, tower_of
from .radio import SHAPES
from .tail import Gathered, Tail
from .together import is_shared, once
from .tower import PoolReading
from .trace import Trace, Trunk, position


@MODELS.register_module()
@checked
class DenseCLIP(nn.Module):
    """Patch features of a frozen CLIP: windows (N, 3, H, W) -> trunk -> `Trace` -> tail -> (N, D, h, w).

    Sides that the patch does not divide are read as published: floor(side / patch) patches, the rest unseen.

    Args:
        arch: open_clip's name of the model, any vision transformer (`ViT-B-16`, `PE-Core-B-16`, `toy`, ...); RADIO's
            (`radio.SHAPES`); or `hf-hub:OWNER/NAME` or `local-dir:FOLDER`, whose config says it and whose weights are
            taken.
        pretrained: one of its tags, a local file (safetensors, a state dict, OpenAI's archive; in open_clip's or
            transformers' names), a folder or `hf-hub:` or `local-dir:` name with such a file, `'toy'`, or None for
            random weights.
        tail: config of the tail, e.g. `dict(type='LastBlock', attention='csa')`.
        quick_gelu: QuickGELU activations, which OpenAI, MetaCLIP and DFN trained with; None leaves it to `arch`. It
            must be what is known of the weights (`facts`), or 'known', which takes that.
        positions: how positions are resampled (`kinds.rules_of`); None is the tower's own rule.
        folder: where weights are looked for as ARCH.TAG.safetensors before they are downloaded.
        seed: of the random weights, when there are no others.
        mean, std: the pixels' statistics in [0, 1], RGB, of weights of which they are not known; None is OpenAI's.
        attention_pool: how a patch is read where the tower pools its tokens by attention (`tower`): 'values',
            'values_alone' or 'none'.
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
        quick_gelu: bool | Literal["known"] | None = None,
        positions: str | None = None,
        folder: str = "data/weights",
        seed: Seed = 0,
        compile: bool = False,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        attention_pool: PoolReading = "values",
    ) -> None:
        super().__init__()
        arch, pretrained = stock.named(arch, pretrained)
        if arch not in SHAPES:
            stock.config_of(arch)
        rules = rules_of(arch)
        if positions not in (None, *rules):
            raise InputError(f"positions is {positions!r}; choose one of {', '.join(rules)}")
        refuse_cell(arch, tail)
        self.tail: Tail = TAILS.build(tail)
        self.tail.reads(outline(arch).depth)
        kind = FrozenRADIO if arch in SHAPES else FrozenCLIP
        self.frozen = only_one(kind, arch, pretrained, quick_gelu, folder, seed, mean, std)
        self.arch, self.pretrained, self.inputs = self.frozen.arch, self.frozen.pretrained, self.frozen.inputs
        self.clip, self.digest, self.words = self.frozen.clip, self.frozen.digest, self.frozen.words
        self.position_rule = positions or rules[0]
        self.attention_pool = attention_pool
        self.mean, self.std = self.inputs.mean, self.inputs.std
        self.tower = tower_of(self.arch, self.clip.visual, attention_pool)
        self.edit = self.tail.edit(self.tower)
        self.frozen.readers.add(self)
        self.run = torch.compile(run_block) if compile else run_block
        self.requires_grad_(False).eval()

    @property
    def quick_gelu(self) -> bool:
        """Whether the tower computes QuickGELU."""
        return any("QuickGELU" in type(module).__name__ for module in self.clip.visual.modules())

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.tower.patch

    @property
    def unit(self) -> int:
        """Pixels that both the patch and the tail's guide divide."""
        return math.lcm(self.patch, self.tail.unit)

    @property
    def trunk(self) -> Trunk:
        """The parts that a tail reads a picture with."""
        return Trunk(tower=self.tower, mean=self.mean, std=self.std)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the trunk computes in; LayerNorm parameters and positions stay fp32."""
        return DTYPES[self.precision]

    @property
    def precision(self) -> str:
        """'fp32', 'bf16' or 'fp16'."""
        return self.frozen.precision

    def set_precision(self, precision: str) -> None:
        """Casts the frozen weights, and those of the tail's guides, to 'fp32', 'bf16' or 'fp16'."""
        self.frozen.set_precision(precision)
        for guide in self.tail.modules():
            if isinstance(guide, Guide):
                guide.to(self.dtype)

    def trace(self, image: Tensor, blocks: Iterable[int] = ()) -> Trace:
        """Runs the trunk on normalised windows (N, 3, H, W), as far as the tail reads.

        `blocks`: more of them whose output is wanted, counted as `Tail.reads` counts.
        """
        return self._run(image, self._wanted([self.tail], blocks), self.edit)

    @property
    def native(self) -> tuple[int, int]:
        """Size (h, w) of the pictures that the tower was trained on."""
        return tuple(self.patch * patches for patches in self.tower.native)

    def as_trained(self, image: Tensor, blocks: Iterable[int]) -> Trace:
        """Of other normalised pictures (N, 3, H, W) than windows: the outputs of `blocks`, without a method's edit."""
        return self._run(image, self._wanted([], blocks), None)

    def _wanted(self, tails: Iterable[Tail], blocks: Iterable[int]) -> tuple[int, ...]:
        """The blocks, from 0, whose output is to be kept; -1 is the trunk's start."""
        depth = len(self.tower.blocks)
        read = {position(block, depth) for tail in tails for block in tail.reads(depth)}
        return tuple(sorted(read | {position(block, depth) for block in blocks}))

    def _run(self, image: Tensor, wanted: tuple[int, ...], edit: Edit | None) -> Trace:
        x, grid = self.tower.embed(image, self.position_rule)
        blocks, prefix = self.tower.blocks, self.tower.prefix
        states = {-1: x} if -1 in wanted else {}
        for index, block in enumerate(blocks[: max(wanted) + 1]):
            if edit is None:
                x = self.run(block, x, grid, prefix)
            else:
                x = edit(block, x, grid, prefix, index == len(blocks) - 1)
            if index in wanted:
                states[index] = x
        return Trace(tower=self.tower, mean=self.mean, std=self.std, image=image, grid=grid, states=states)

    def forward(self, image: Tensor, text: TextBank | None = None) -> Tensor:
        """Patch features (N, D, h, w) of normalised windows (N, 3, H, W), as the tail reads them."""
        return self.tail(self.trace(image), text)

    def score(self, image: Tensor, text: TextBank) -> Tensor:
        """Scores (N, Q, h, w), fp32, of normalised windows (N, 3, H, W) with the queries, each window by itself."""
        return self.tail.score(self._seen(image), text)

    def gather(self, image: Tensor, text: TextBank) -> Gathered:
        """What the tail keeps of normalised windows (N, 3, H, W), to read the picture by."""
        return once("gathered", *self._of(text, image), compute=lambda: self.tail.gather(self._seen(image), text))

    def keep(self, image: Tensor, text: TextBank, features: bool = False, summary: bool = False) -> dict[str, Gathered]:
        """What the tail keeps of normalised windows (N, 3, H, W), as `tail`, and their `features` and `summary`."""
        if not features and not summary:
            return {"tail": self.gather(image, text)}
        trace, of = self._seen(image, (-2,) if summary else ()), self._of(text, image)
        kept: dict[str, Gathered] = {"tail": once("gathered", *of, compute=lambda: self.tail.gather(trace, text))}
        if features:
            kept["features"] = once("features", *of, compute=lambda: self.tail.features(trace, text))[: len(image)]
        if summary:
            kept["summary"] = once("summary", *of, compute=lambda: self.tail.summary(trace))[: len(image)]
        return kept

    def _of(self, text: TextBank, image: Tensor) -> tuple[object, ...]:
        """All that what comes of windows depends on."""
        return *self._settings, self.tail, text, image

    def _seen(self, image: Tensor, blocks: Iterable[int] = ()) -> Trace:
        """The trace of windows as the tail looks at them."""
        views = self.tail.views(image)
        return self._shared(image, blocks) if views is image else self.trace(views, blocks)

    def _shared(self, image: Tensor, blocks: Iterable[int] = ()) -> Trace:
        """The trace of windows; where readers share the trunk, that of them all."""
        if not is_shared():
            return self.trace(image, blocks)
        alike = [reader.tail for reader in self.frozen.readers if reader.edit == self.edit]
        wanted = self._wanted([self.tail, *alike], blocks)
        of = *self._settings, wanted, image
        return once("trace", *of, compute=lambda: self._run(image, wanted, self.edit))

    def summary(self, image: Tensor) -> Tensor:
        """The unit feature of normalised windows (N, 3, H, W) as a whole, (N, D), fp32."""
        return self.tail.summary(self.trace(image, (-2,)))

    @property
    def _settings(self) -> tuple[object, ...]:
        """All that a trace of windows depends on beside them. An edit of the trunk is known by its settings."""
        return self.clip, self.run, self.position_rule, self.attention_pool, repr(self.edit)

    def is_last(self, block: int) -> bool:
        """Whether a block, counted from 0 or from the end as -1, is the last one."""
        return block in (-1, len(self.tower.blocks) - 1)

    def attention_maps(self, image: Tensor, text: TextBank | None, block: int = -1) -> AttentionMaps:
        """What the tokens of normalised windows (N, 3, H, W) look at in a block, as the scores are computed.

        Of a method that scores several views of a window (`Tail.views`), in the window as it is.
        """
        depth = len(self.tower.blocks)
        index = position(block, depth)
        if index < 0:
            raise InputError(f"block {block} is asked for, and the tower has {depth}")
        trace = self._shared(image, (index - 1 - depth,))
        return self.tail.attention_maps(trace, text, block)
