"""open_clip's own vision transformer: CLIP as OpenAI built it, CLIPA's without class token, CoCa's pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .block import OwnBlock
from .positions import resample
from .tower import PoolReading, Tower


class OwnTower(Tower):
    """A `VisionTransformer` of plain blocks."""

    prefix = 1

    def __init__(self, visual: nn.Module, reading: PoolReading) -> None:
        super().__init__(visual)
        self.reading = reading
        self.blocks = tuple(map(OwnBlock, visual.transformer.resblocks))
        self.patch = visual.conv1.kernel_size[0]
        self.native = tuple(side // self.patch for side in visual.image_size)
        if reading == "none" and visual.attn_pool is not None and self.width != visual.ln_post.normalized_shape[0]:
            raise InputError("attention_pool='none' needs tokens of the joint space's width, and this tower's are not")

    @property
    def has_class_token(self) -> bool:
        return True

    @property
    def width(self) -> int:
        return self.visual.conv1.out_channels

    def embed(self, image: Tensor, rule: str) -> tuple[Tensor, tuple[int, int]]:
        visual = self.visual
        x = visual.conv1(image.to(self.dtype))
        grid = tuple(x.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        table = resample(visual.positional_embedding, self.native, grid, rule)
        start = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return visual.ln_pre(torch.cat([start, x], dim=1) + table.to(x.dtype)), grid

    def last_norm(self, tokens: Tensor) -> Tensor:
        """Of CoCa's after the values of its pooling."""
        visual = self.visual
        if visual.attn_pool is not None and self.reading != "none":
            tokens = _values(visual.attn_pool, tokens)
        return visual.ln_post(tokens)

    def projected(self, normed: Tensor) -> Tensor:
        return normed @ self.visual.proj

    def pooled(self, tokens: Tensor) -> Tensor:
        visual = self.visual
        if visual.attn_pool is not None:
            return visual.ln_post(visual.attn_pool(tokens)[:, 0]) @ visual.proj
        if visual.pool_type == "tok":
            return self.joint(tokens[:, 0])
        if visual.final_ln_after_pool:
            return self.joint(tokens[:, 1:].mean(1))
        return visual.ln_post(tokens)[:, 1:].mean(1) @ visual.proj


def _values(pool: nn.Module, tokens: Tensor) -> Tensor:
    """Each token's own way through open_clip's `AttentionalPooler`: (N, T, C) -> (N, T, D)."""
    attn, width = pool.attn, pool.attn.embed_dim
    weight = attn.in_proj_weight[2 * width :] if attn.v_proj_weight is None else attn.v_proj_weight
    return attn.out_proj(F.linear(pool.ln_k(tokens), weight, attn.in_proj_bias[2 * width :]))
