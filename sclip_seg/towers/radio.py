"""RADIO (arXiv 2312.06709, 2412.07679): one trunk taught by several teachers, of which SigLIP 2 has words.

C-RADIOv3 is a ViT with LayerNorm before attention and FFN, no norm after the last block, LayerScale in B and L. Before
the patches stand a class token of each teacher and registers; they have no positions. A teacher's adaptors are small
networks that bring tokens into its space: one for its class token (the 'summary'), one for patches (the 'features').
The joint space of patches and words is that of SigLIP 2, reached as RADSeg (arXiv 2511.19704) does, by the *summary*
adaptor of every patch. Where weights bring a normaliser of features, it stands where other towers have their last norm.

A table of positions spans 2048 pixels. For a grid (h, w) it is resized to a square of max(h, w) and its upper left
part is taken: 'radio', without aligned corners, as NVIDIA's code does since 2025-06-28; 'radio_corners', with them, as
it did before, and as the files on Hugging Face for B and H, and timm, still have it. The two are far apart.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..errors import InputError
from .timm_blocks import TimmBlock
from .tower import Tower


class Words(NamedTuple):
    """Where a teacher's words come from: open_clip's name of a model with that text tower, and of its weights."""

    arch: str
    weights: str


# By what a file calls its teacher's model. open_clip has no NaFlex SigLIP 2, whose text tower has the same form.
WORDS = {
    "siglip2-so400m": Words("ViT-SO400M-16-SigLIP2-256", "hf-hub:google/siglip2-so400m-patch16-naflex"),
    "siglip2-g-384": Words("ViT-gopt-16-SigLIP2-384", "webli"),
}
RULES = {"radio": False, "radio_corners": True}  # whether the corners of the table and of the square are aligned


@dataclass(frozen=True)
class Shape:
    """What weights do not tell of themselves, and how large they are; `words` where a file does not say whose they are.

    `table` and `native` are sides in patches: of the table of positions, and of pictures as timm has them, 512 pixels.
    """

    width: int
    depth: int
    heads: int
    layer_scale: bool = False
    patch: int = 16
    table: int = 128
    native: int = 32
    prefix: int = 8
    words: str = "siglip2-so400m"


SHAPES = {
    "c-radio_v3-b": Shape(768, 12, 12, layer_scale=True),
    "c-radio_v3-l": Shape(1024, 24, 16, layer_scale=True),
    "c-radio_v3-h": Shape(1280, 32, 16),
    "c-radio_v3-g": Shape(1536, 40, 24),
}


class Normaliser(nn.Module):
    """(y - mean) txᵀ of patch features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean, self.tx = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.eye(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., C)."""
        return ((tokens.float() - self.mean.float()) @ self.tx.float().T).to(tokens.dtype)


class RadioVisual(nn.Module):
    """The trunk's parts, and a teacher's adaptors: `head` of its class token, `sam` the features of SAM, if at hand.

    `class_embedding` (P, C) are the tokens before the patches, that of the words' teacher first: since they have no
    positions, their order is nothing to the others.
    """

    def __init__(self, shape: Shape, head: nn.Module, sam: nn.Module | None = None, normalised: bool = False) -> None:
        super().__init__()
        width = shape.width
        self.shape, self.head, self.sam = shape, head, sam
        self.embedder = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(shape.prefix, width) * width**-0.5)
        self.pos_embed = nn.Parameter(torch.randn(shape.table**2, width) * 0.02)
        scale = 1e-5 if shape.layer_scale else None
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, qkv_bias=True, init_values=scale, norm_layer=partial(nn.LayerNorm, eps=1e-6))
            for _ in range(shape.depth)
        )
        self.normaliser = Normaliser(width) if normalised else nn.Identity()


class RadioTower(Tower):
    """RADIO's trunk under SigLIP 2's adaptor."""

    rules = tuple(RULES)

    def __init__(self, visual: RadioVisual) -> None:
        super().__init__(visual)
        shape = visual.shape
        self.blocks = tuple(map(TimmBlock, visual.blocks))
        self.prefix, self.patch, self.native = len(visual.class_embedding), shape.patch, (shape.native, shape.native)

    @property
    def has_class_token(self) -> bool:
        return True

    @property
    def width(self) -> int:
        return self.visual.shape.width

    def embed(self, image: Tensor, rule: str) -> tuple[Tensor, tuple[int, int]]:
        visual = self.visual
        x = visual.embedder(image.to(self.dtype))
        grid = tuple(x.shape[-2:])
        table = positions(visual.pos_embed, visual.shape.table, grid, rule)
        x = x.flatten(2).transpose(1, 2) + table.to(x.dtype)
        return torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), -1, -1), x], dim=1), grid

    def last_norm(self, tokens: Tensor) -> Tensor:
        return self.visual.normaliser(tokens)

    def projected(self, normed: Tensor) -> Tensor:
        return self.visual.head(normed)

    def pooled(self, tokens: Tensor) -> Tensor:
        return self.visual.head(tokens[:, 0])

    def for_sam(self, tokens: Tensor) -> Tensor:
        """Patches (N, P, C) after the last block as SAM's encoder has them, (N, P, D'). Raises InputError."""
        if self.visual.sam is None:
            raise InputError("this RADIO has no adaptor of SAM's features")
        return self.visual.sam(self.last_norm(tokens))


def positions(table: Tensor, cells: int, grid: tuple[int, int], rule: str) -> Tensor:
    """The table (cells², C) for a grid (h, w): (h·w, C), fp32."""
    side, picture = max(grid), table.float().T.reshape(1, -1, cells, cells)
    square = F.interpolate(picture, (side, side), mode="bilinear", align_corners=RULES[rule])
    return square[0, :, : grid[0], : grid[1]].flatten(1).T
