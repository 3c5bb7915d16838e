"""timm's vision transformers as picture towers of open_clip's: SigLIP, MobileCLIP, ViTamin, EVA-CLIP, PE-Core."""

import torch
import torch.nn.functional as F
from timm.layers import AttentionPoolLatent, RotaryEmbeddingCat
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import InputError
from .block import Block
from .positions import resample
from .timm_blocks import EvaBlock, PostNormEvaBlock, Rotary, TimmBlock
from .tower import PoolReading, Tower

POOLS = ("token", "avg", "map")


class TimmTower(Tower):
    """open_clip's `TimmModel` around a `VisionTransformer` or an `Eva`.

    Raises:
        InputError: blocks, positions or a pooling of another kind; a reading that the tower does not have.
    """

    def __init__(self, visual: nn.Module, reading: PoolReading) -> None:
        super().__init__(visual)
        trunk, self.reading = visual.trunk, reading
        embed = trunk.patch_embed
        if type(trunk) not in (VisionTransformer, Eva):
            raise InputError(f"it is timm's {type(trunk).__name__}")
        if trunk.global_pool not in POOLS or "pool" in visual.head._modules:
            raise InputError(f"it pools its tokens by {trunk.global_pool or 'a pooling of its own'!r}")
        if trunk.attn_pool is not None:
            _check_pool(trunk, reading)
        self.blocks = blocks_of(trunk)
        self.prefix = trunk.num_prefix_tokens
        self.native, self.patch = tuple(embed.grid_size), embed.feat_ratio()
        embed.strict_img_size = False

    @property
    def has_class_token(self) -> bool:
        return self.visual.trunk.cls_token is not None

    @property
    def width(self) -> int:
        return self.visual.trunk.embed_dim

    def embed(self, image: Tensor, rule: str) -> tuple[Tensor, tuple[int, int]]:
        trunk = self.visual.trunk
        grid = tuple(side // self.patch for side in image.shape[2:])
        image = image[:, :, : grid[0] * self.patch, : grid[1] * self.patch]
        x = trunk.patch_embed(image.to(self.dtype))
        starts = [t.to(x.dtype).expand(len(x), -1, -1) for t in (trunk.cls_token, trunk.reg_token) if t is not None]
        table = self._positions(grid, rule)
        if table is None:
            x = torch.cat([*starts, x], dim=1)
        elif trunk.no_embed_class:
            x = torch.cat([*starts, x + table.to(x.dtype)], dim=1)
        else:
            x = torch.cat([*starts, x], dim=1) + table.to(x.dtype)
        return trunk.norm_pre(x), grid

    def _positions(self, grid: tuple[int, int], rule: str) -> Tensor | None:
        """Of the patches, and of the tokens before them where these have some."""
        trunk = self.visual.trunk
        if trunk.pos_embed is None:
            return None
        return resample(trunk.pos_embed[0], self.native, grid, rule, 0 if trunk.no_embed_class else self.prefix)

    def last_norm(self, tokens: Tensor) -> Tensor:
        return self.visual.trunk.norm(tokens)

    def projected(self, normed: Tensor) -> Tensor:
        """The values of the pooling where it is one of attention, the norm after it, the heads."""
        trunk, x = self.visual.trunk, normed
        if trunk.attn_pool is not None and self.reading != "none":
            x = _values(trunk.attn_pool, x, self.reading == "values")
        return self.visual.head(trunk.head(trunk.fc_norm(x)))

    def pooled(self, tokens: Tensor) -> Tensor:
        trunk = self.visual.trunk
        return self.visual.head(trunk.forward_head(trunk.norm(tokens)))


def blocks_of(trunk: VisionTransformer | Eva) -> tuple[Block, ...]:
    """Its blocks, by their kind. Raises InputError for one of another kind."""
    rope = getattr(trunk, "rope", None)
    if rope is not None and type(rope) is not RotaryEmbeddingCat:
        raise InputError(f"its rotary positions are timm's {type(rope).__name__}")
    rotary = None if rope is None else Rotary(rope)
    return tuple(_block(module, rotary) for module in trunk.blocks)


def _block(module: nn.Module, rotary: Rotary | None) -> Block:
    attn, kind = getattr(module, "attn", None), type(module).__name__
    kinds = kind, type(attn).__name__
    is_plain = getattr(attn, "gate", None) is None and getattr(attn, "num_kv_groups", 1) == 1
    if is_plain and kinds == ("Block", "Attention"):
        return TimmBlock(module)
    if is_plain and kind in ("EvaBlock", "EvaBlockPostNorm") and kinds[1] in ("EvaAttention", "AttentionRope"):
        return (EvaBlock if kind == "EvaBlock" else PostNormEvaBlock)(module, rotary)
    raise InputError(f"its blocks are timm's {kind} with {kinds[1]}" + ("" if is_plain else ", gated or grouped"))


def _check_pool(trunk: nn.Module, reading: PoolReading) -> None:
    pool = trunk.attn_pool
    if type(pool) is not AttentionPoolLatent or pool.pos_embed is not None:
        raise InputError(f"it pools its tokens by timm's {type(pool).__name__}")
    if reading == "none" and pool.out_features != trunk.embed_dim:
        raise InputError("attention_pool='none' needs tokens of the width that the pooling gives, and these are not")


def _values(pool: AttentionPoolLatent, x: Tensor, whole: bool) -> Tensor:
    """Each token's own way through the pooling, as if it were the only one; its feed-forward if `whole`."""
    width = len(pool.kv.weight) // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]
    x = pool.proj(F.linear(x, pool.kv.weight[width:], bias))
    return x + pool.mlp(pool.norm(x)) if whole and pool.mlp is not None else x
