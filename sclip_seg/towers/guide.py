"""Guides: second vision models that say which patches of a picture belong together.

A guide takes windows as RGB in [0, 1] and normalises them itself. Its features have a grid of their own. The models
come from timm; their weights are downloaded on first use, or read from `FOLDER/ARCH.safetensors` or a file. Whatever
the file, it is read as data (`checkpoint`), and every name and shape must be the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM, get_decomposed_rel_pos_bias
from torch import Tensor, nn

from ..errors import InputError
from ..registry import GUIDES
from ..settings import Pixels, Seed
from . import weights
from .guide_weights import build
from .positions import RULES, resample
from .together import once


@dataclass(frozen=True)
class LastAttention:
    """The last block's attention over one picture: `weights(head)` (T, T), `values` (heads, T, d), T = h·w patches.

    Of SAM also the neck's output (256, 64, 64) and the picture's size (h, w) in pixels within its square.
    """

    grid: tuple[int, int]
    values: Tensor
    weights: Callable[[int], Tensor]
    embedding: Tensor | None = None
    size: tuple[int, int] | None = None


class Guide(nn.Module):
    """A frozen model with patch features. Windows' sides must be multiples of `unit` pixels."""

    unit: int = 1

    def __call__(self, image: Tensor) -> Tensor:
        return once("guide", self, image, compute=lambda: super(Guide, self).__call__(image))

    def forward(self, image: Tensor) -> Tensor:
        """Windows (N, 3, H, W), RGB in [0, 1] -> features (N, C, h, w), of any length."""
        raise NotImplementedError

    def values(self, image: Tensor) -> Tensor:
        """Windows (N, 3, H, W), RGB in [0, 1] -> the last block's values, heads joined, (N, C, h, w)."""
        raise InputError(f"{type(self).__name__} does not show its values; TimmGuide does")

    def query_plus_key(self, image: Tensor) -> Tensor:
        """Windows (N, 3, H, W), RGB in [0, 1] -> q + k of the last block, heads joined, (N, C, h, w)."""
        raise InputError(f"{type(self).__name__} does not show its queries and keys; TimmGuide does")

    def keys(self, image: Tensor) -> Tensor:
        """Windows (N, 3, H, W), RGB in [0, 1] -> the last block's keys, heads joined, (N, C, h, w)."""
        raise InputError(f"{type(self).__name__} does not show its keys; TimmGuide does")

    def last_attention(self, image: Tensor) -> LastAttention:
        """Of one picture (1, 3, H, W), RGB in [0, 1]."""
        raise NotImplementedError


class _TimmModel(Guide):
    """What the two kinds share: the model, its weights, its pixel statistics.

    Args:
        arch: timm's name, with its tag.
        pretrained: 'timm' for the tag's weights, a file, 'toy' for the shipped toy guide, or None for random ones.
        options: further arguments of `timm.create_model`.
        folder: where ARCH.safetensors (or .pth, .pt, .bin) is looked for before it is downloaded.
        seed: of random weights.
    Raises:
        InputError: no such model, no such weights, or weights that do not fit.
    """

    def __init__(
        self, arch: str, pretrained: str | None, options: dict | None, folder: str, seed: int, **fixed: object
    ) -> None:
        super().__init__()
        self.arch, self.pretrained = arch, pretrained
        self.model = build(arch, pretrained, {**fixed, **(options or {})}, folder, seed)
        self.digest = weights.digest(self.model)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(self.model.pretrained_cfg[name]).view(3, 1, 1), persistent=False)

    def normalised(self, image: Tensor) -> Tensor:
        """RGB in [0, 1] as the model was trained on it, in the model's type."""
        image = (image.float() - self.mean.float()) / self.std.float()
        return image.to(next(self.model.parameters()).dtype)

    def projected(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The last block's q, k and v side by side for normalised windows (N, 3, H, W), and the model's output."""
        seen = []
        hook = self.model.blocks[-1].attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            output = self.model.forward_features(image)
        finally:
            hook.remove()
        return seen[0], output

    def last_qkv(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v (heads, tokens, d) of the last block for a normalised picture (1, 3, H, W), fp32; and the output."""
        attention = self.model.blocks[-1].attn
        qkv, output = self.projected(image)
        q, k, v = qkv.flatten(0, -2).unflatten(1, (3, attention.num_heads, -1)).permute(1, 2, 0, 3)
        return attention.q_norm(q).float(), attention.k_norm(k).float(), v.float(), output.float()


@GUIDES.register_module()
class TimmGuide(_TimmModel):
    """The patch tokens, after the last norm, of a timm ViT: DINO, DINOv2 with registers, MAE and the like.

    `positions` is how its table is resampled to other grids (`positions.RULES`): 'dino' is DINO's own rule, which
    timm's differs from; 'gem' is timm's own, DINOv2's with registers; 'maskclip' is MAE's.
    """

    def __init__(
        self,
        arch: str = "vit_base_patch8_224.dino",
        pretrained: str | None = "timm",
        positions: str = "dino",
        options: dict | None = None,
        folder: str = "data/weights",
        seed: Seed = 0,
    ) -> None:
        if positions not in RULES:
            raise InputError(f"the guide's positions are {positions!r}; choose one of {', '.join(RULES)}")
        super().__init__(arch, pretrained, options, folder, seed, num_classes=0)
        if not isinstance(self.model, VisionTransformer):
            raise InputError(f"{arch} is no plain vision transformer, which TimmGuide reads; SAM's encoders: SAMGuide")
        self.positions, self.unit = positions, self.model.patch_embed.patch_size[0]
        self.model.patch_embed.strict_img_size = False
        self.native = tuple(self.model.patch_embed.grid_size)
        table = getattr(self.model, "pos_embed", None)
        self.register_buffer("table", None if table is None else table.detach().clone(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        image, grid = self.place(image)
        tokens = self.model.forward_features(self.normalised(image))[:, self.model.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, grid)

    def values(self, image: Tensor) -> Tensor:
        image, grid = self.place(image)
        qkv, _ = self.projected(self.normalised(image))
        return self.folded(qkv.chunk(3, dim=-1)[2], grid)

    def keys(self, image: Tensor) -> Tensor:
        image, grid = self.place(image)
        qkv, _ = self.projected(self.normalised(image))
        attention = self.model.blocks[-1].attn
        keys = attention.k_norm(qkv.chunk(3, dim=-1)[1].unflatten(-1, (attention.num_heads, -1)))
        return self.folded(keys.flatten(2), grid)

    def folded(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """The patches of tokens (N, T, C) as (N, C, h, w)."""
        return tokens[:, self.model.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)

    def query_plus_key(self, image: Tensor) -> Tensor:
        image, grid = self.place(image)
        attention = self.model.blocks[-1].attn
        qkv, _ = self.projected(self.normalised(image))
        q, k, _ = qkv[:, self.model.num_prefix_tokens :].unflatten(2, (3, attention.num_heads, -1)).unbind(2)
        joined = (attention.q_norm(q) + attention.k_norm(k)).flatten(2)
        return joined.transpose(1, 2).unflatten(2, grid)

    def last_attention(self, image: Tensor) -> LastAttention:
        prefix = self.model.num_prefix_tokens
        image, grid = self.place(image)
        q, k, v, _ = self.last_qkv(self.normalised(image))
        scale = self.model.blocks[-1].attn.scale

        def of_head(head: int) -> Tensor:
            return (scale * q[head] @ k[head].T).softmax(-1)[prefix:, prefix:]

        return LastAttention(grid, v[:, prefix:], of_head)

    def place(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The windows without what no patch covers, and their grid (h, w), for which the model gets its positions."""
        grid = tuple(side // self.unit for side in image.shape[2:])
        image = image[:, :, : grid[0] * self.unit, : grid[1] * self.unit]
        if self.table is not None:
            table = self.table[0].float()
            prefix = len(table) - self.native[0] * self.native[1]  # 0 where class and registers have no position
            lead, patches = table[:prefix], table[prefix:]
            dummy = patches.new_zeros(1, patches.shape[1])
            resampled = resample(torch.cat([dummy, patches]), self.native, grid, self.positions)[1:]
            self.model.pos_embed.data = torch.cat([lead, resampled])[None].to(self.table)
        return image, grid


@GUIDES.register_module()
class SAMGuide(_TimmModel):
    """The image encoder of Segment Anything: the neck's output, and the last block's attention.

    Windows are stretched to the square of `side` pixels for features (ProxyCLIP); for the attention the picture's long
    side is brought to it and the rest is zeros, whose tokens have their part in the softmax (Trident).
    """

    def __init__(
        self,
        arch: str = "samvit_base_patch16.sa1b",
        pretrained: str | None = "timm",
        side: Pixels = 1024,
        options: dict | None = None,
        folder: str = "data/weights",
        seed: Seed = 0,
    ) -> None:
        super().__init__(arch, pretrained, options, folder, seed)
        if not isinstance(self.model, VisionTransformerSAM):
            raise InputError(f"{arch} is no encoder of Segment Anything, which SAMGuide reads; others: TimmGuide")
        if side % self.model.patch_embed.patch_size[0]:
            raise InputError(f"SAMGuide's side is {side}; it must be a multiple of the patch")
        self.side = side

    def forward(self, image: Tensor) -> Tensor:
        square = F.interpolate(self.normalised(image), (self.side, self.side), mode="bilinear", align_corners=False)
        return self.model.forward_features(square)

    def framed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """A picture (1, 3, H, W) in the corner of the normalised square, and its size (h, w) there in pixels.

        The long side is brought to `side` by pillow's bilinear rule (antialiased), as SAM does it.
        """
        factor = self.side / max(image.shape[2:])
        size = tuple(int(length * factor + 0.5) for length in image.shape[2:])
        small = F.interpolate(image.float(), size, mode="bilinear", align_corners=False, antialias=True)
        small = (small * 255).round() / 255  # pillow's result is of 8 bits
        margins = (0, self.side - size[1], 0, self.side - size[0])
        return F.pad(self.normalised(small), margins), size

    def last_attention(self, image: Tensor) -> LastAttention:
        square, size = self.framed(image)
        patch = self.model.patch_embed.patch_size[0]
        grid, full = tuple(length // patch for length in size), self.side // patch
        q, k, v, output = self.last_qkv(square)
        attention = self.model.blocks[-1].attn
        tables = attention.rel_pos_h.float(), attention.rel_pos_w.float()
        valid = torch.arange(full * full, device=v.device).view(full, full)[: grid[0], : grid[1]].flatten()

        def of_head(head: int) -> Tensor:
            bias = get_decomposed_rel_pos_bias(q[head][None], *tables, (full, full), (full, full))[0]
            return (attention.scale * q[head] @ k[head].T + bias).softmax(-1)[valid][:, valid]

        return LastAttention(grid, v[:, valid], of_head, output[0], size)
