"""timm's blocks: those of its plain vision transformer, and EVA's with rotary positions and separate projections."""

import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat, build_rotary_pos_embed
from torch import Tensor, nn

from .block import Block
from .kept import on


class TimmBlock(Block):
    """`timm.models.vision_transformer.Block` with its plain attention; q and k may be normed, head by head."""

    @property
    def dtype(self) -> torch.dtype:
        return self.module.attn.qkv.weight.dtype

    def normed(self, x: Tensor) -> Tensor:
        return self.module.norm1(x)

    def project(self, part: int, tokens: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        attn = self.module.attn
        projected = self.split(_rows(attn.qkv, part, tokens))
        return (attn.q_norm, attn.k_norm, nn.Identity())[part](projected)

    def out_projection(self, joined: Tensor) -> Tensor:
        attn = self.module.attn
        return attn.proj(attn.norm(joined))

    def output(self, joined: Tensor) -> Tensor:
        return self.module.ls1(self.out_projection(joined))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.module.ls2(self.module.mlp(self.module.norm2(x)))


class EvaBlock(Block):
    """`timm.models.eva.EvaBlock`: what its queries and keys are turned by is that of the grid at hand (`Rotary`)."""

    def __init__(self, module: nn.Module, rotary: "Rotary | None") -> None:
        super().__init__(module)
        self.rotary = rotary

    @property
    def dtype(self) -> torch.dtype:
        return self.module.attn.proj.weight.dtype

    def normed(self, x: Tensor) -> Tensor:
        return self.module.norm1(x)

    def project(self, part: int, tokens: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
        attn = self.module.attn
        if attn.qkv is None:
            projected = (attn.q_proj, attn.k_proj, attn.v_proj)[part](tokens)
        else:
            projected = _rows(attn.qkv, part, tokens)
            bias = (getattr(attn, name, None) for name in ("q_bias", "k_bias", "v_bias"))
            if (own := tuple(bias)[part]) is not None:
                projected = projected + own.to(projected.dtype)
        projected = (attn.q_norm, attn.k_norm, nn.Identity())[part](self.split(projected))
        if part == 2 or self.rotary is None:
            return projected
        start, patches = projected[:, :, :prefix], projected[:, :, prefix:]
        turned = apply_rot_embed_cat(patches, self.rotary(grid, tokens.device), half=attn.rotate_half)
        return torch.cat([start, turned], dim=2).to(projected.dtype)

    def out_projection(self, joined: Tensor) -> Tensor:
        return self.module.attn.proj(self.module.attn.norm(joined))

    def output(self, joined: Tensor) -> Tensor:
        return _scaled(self.out_projection(joined), self.module.gamma_1)

    def feed_forward(self, x: Tensor) -> Tensor:
        return _scaled(self.module.mlp(self.module.norm2(x)), self.module.gamma_2)


class PostNormEvaBlock(EvaBlock):
    """`EvaBlockPostNorm`: X + LN1 MHA(X), then + LN2 FFN(·)."""

    def normed(self, x: Tensor) -> Tensor:
        return x

    def output(self, joined: Tensor) -> Tensor:
        return self.module.norm1(self.out_projection(joined))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.module.norm2(self.module.mlp(x))


class Rotary:
    """The angles of a tower's rotary positions, for any grid: coordinates are scaled to the grid it was trained on."""

    def __init__(self, rope: nn.Module) -> None:
        names = ("dim", "temperature", "in_pixels", "ref_feat_shape", "grid_offset", "grid_indexing", "rotate_half")
        given = {name: getattr(rope, name) for name in names if hasattr(rope, name)}
        given["temperature"] = float(given["temperature"])
        if given["ref_feat_shape"] is not None:
            given["ref_feat_shape"] = tuple(given["ref_feat_shape"])
        self.settings = tuple(given.items())

    def __call__(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """Sines and cosines (h·w, 2 d) on a device, fp32."""
        return on(device, _angles, tuple(grid), self.settings)


def _angles(grid: tuple[int, int], settings: tuple[tuple[str, object], ...]) -> Tensor:
    return torch.cat(build_rotary_pos_embed(list(grid), **dict(settings)), dim=-1)


def _rows(packed: nn.Linear, part: int, tokens: Tensor) -> Tensor:
    """One of the three projections that lie one below the other."""
    width = len(packed.weight) // 3
    rows = slice(part * width, (part + 1) * width)
    return F.linear(tokens, packed.weight[rows], None if packed.bias is None else packed.bias[rows])


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else gamma * x
