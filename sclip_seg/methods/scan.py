"""SCAN (CVPR 2024, arXiv 2312.04089): in a crop's background the tower is shown the whole picture.

A crop as zsseg's; B are its patches without a pixel of the region. After some blocks d, counted from 1,

    int(ρ |B|) of the tokens of B become the class token of the whole picture after block d

and the class token of the last block is the crop's feature, as ever. ρ = 0 is zsseg. The whole picture is padded on
the right and below to multiples of 32 with the mean colour, and brought to the tower's square by the nearest pixel, as
the mask is. Released, the tokens are drawn anew each time; here those number i < n are entry ⌊i |B| / n⌋ of B.

With a trained head, on large vocabularies (`void`) what is nothing keeps its part, c being zsseg's fusion:

    c <- (1 - q_void) c / Σ c;   [c; q_void] + 1e-8, made to add up to 1;   the last column is left out

SCAN's tower was trained to see such crops, and its segmenter to ask another CLIP that was not (`regions/integration`).
Both come from the user's own copy of the authors' file (`sclip-seg convert-scan`). What the shift does to a frozen CLIP
nobody has published.

Official code: github.com/yongliu20/SCAN, followed but for the drawing.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.picture import Picture
from ..regions.integration import SemanticIntegration
from ..regions.pieces import Piece
from ..registry import MODELS, STAGES
from ..settings import Count, Positive, Share
from ..towers.block import run_block
from ..towers.encoder import DenseCLIP
from ..towers.trace import Trace, relative
from .zsseg import ZSSeg, crops, normalised

UNIT = 32  # pixels that the network's input is padded to
SMALL = 1e-8
ASKED = 12  # blocks of the tower that `asked` counts in: half, three quarters and all of it are asked


@STAGES.register_module()
class SCAN(ZSSeg):
    """`ZSSeg` by crops, shifted.

    Args:
        ratio: ρ.
        blocks: after which the tokens are overwritten, from 1, in a tower of `tower` blocks; None as they are.
        void: keep the part of nothing, as on large vocabularies; with a head.
        original: config of the `DenseCLIP` that sees the whole picture; None is the method's own tower.
        integration: a file by which the head's queries ask it (`SemanticIntegration.load`), or None.
        asked: after which of its blocks, from 1, in a tower of 12.
        sigmas: of the filters there.
        settings: of `ZSSeg`.
    """

    def __init__(
        self,
        ratio: Share = 0.05,
        blocks: list[Count] | tuple[Count, ...] = (1, 3, 5),
        tower: Count | None = 12,
        void: bool = False,
        original: dict | None = None,
        integration: str | None = None,
        asked: list[Count] | tuple[Count, ...] = (6, 9, 12),
        sigmas: list[Positive] | tuple[Positive, ...] = (9.0, 7.0, 3.0),
        **settings: object,
    ) -> None:
        super().__init__(**settings)
        if self.reader != "crops":
            raise InputError("SCAN shifts what the tower sees of crops: its reader is 'crops'")
        if integration is not None and self.head is None:
            raise InputError("integration is for the queries of a head, and there is none")
        self.ratio, self.blocks, self.tower, self.void = ratio, tuple(blocks), tower, void
        self.asked, self.sigmas = tuple(asked), tuple(sigmas)
        plain = dict(type="LastBlock", attention="qk")
        self.original = None if original is None else MODELS.build({"type": "DenseCLIP", "tail": plain, **original})
        self.integration = None if integration is None else SemanticIntegration.load(integration)

    @property
    def second_tower(self) -> DenseCLIP | None:
        return self.original

    def whole(self, picture: Picture) -> DenseCLIP:
        """The tower that sees the whole picture."""
        return self.original or picture.tower

    def read(self, image: Tensor, found: Iterator[Piece], picture: Picture) -> Iterator[Tensor]:
        tower, batch = picture.tower, picture.batch
        if not tower.tower.has_class_token:
            raise InputError(f"{tower.arch} has no class token, which SCAN shows to crops")
        shown = relative(self.blocks, self.tower, picture.trunk.depth)
        seen = class_tokens(self.whole(picture), image, shown)
        while part := list(islice(found, batch)):
            (cut,) = crops(image, part, tower.native, batch)
            outside = [background(piece, tower.native, tower.patch) for piece in part]
            yield shifted(tower, cut, outside, seen, self.ratio)

    def queries(self, embeddings: Tensor, picture: Picture) -> Tensor:
        embedded = super().queries(embeddings, picture)
        if self.integration is None:
            return embedded
        tower = self.whole(picture)
        asked = relative(self.asked, ASKED, tower.trunk.depth)
        if len(asked) != len(self.sigmas):
            raise InputError(f"{len(asked)} blocks of the tower are asked, and sigmas are {len(self.sigmas)}")
        seen = whole_trace(tower, normalised(picture), (*asked, tower.trunk.depth - 1))
        return integrated(self.integration, embedded, seen, asked, self.sigmas)

    def fuse(self, q: Tensor, p: Tensor, seen: Tensor) -> Tensor:
        return with_void(super().fuse(q, p, seen), q[:, -1:]) if self.void else super().fuse(q, p, seen)


def class_tokens(tower: DenseCLIP, image: Tensor, blocks: Sequence[int]) -> dict[int, Tensor]:
    """Of the whole normalised picture (3, H, W) the class token (C,) after each of the blocks, from 0."""
    trace = whole_trace(tower, image, blocks)
    return {block: trace.hidden(block)[0, 0] for block in blocks}


def whole_trace(tower: DenseCLIP, image: Tensor, blocks: Sequence[int]) -> Trace:
    """The tower's way through the whole normalised picture (3, H, W), as far as the blocks, from 0."""
    below, beside = (-side % UNIT for side in image.shape[1:])
    padded = F.pad(image, (0, beside, 0, below))[None]
    return tower.as_trained(F.interpolate(padded, tower.native, mode="nearest"), blocks)


def integrated(
    integration: SemanticIntegration, queries: Tensor, trace: Trace, blocks: Sequence[int], sigmas: Sequence[float]
) -> Tensor:
    """Queries (R, D) after the picture was asked, whose trace has the last block and these, from 0."""
    tokens = [trace.fold(trace.hidden(block)[:, trace.prefix :])[0] for block in blocks]
    if tokens[0].shape[0] != integration.seen:
        raise InputError(
            f"{integration.name} asks tokens {integration.seen} wide, and the tower's are {len(tokens[0])}"
        )
    (overall,) = trace.class_features(trace.hidden(-1))
    return integration(queries, integration.memory(tokens, sigmas), overall)


def background(piece: Piece, size: tuple[int, int], patch: int) -> Tensor:
    """Which patches (P,) of a piece at `size` have no pixel of it."""
    mask = F.interpolate(piece.mask[None, None].float(), size, mode="nearest")
    return F.max_pool2d(mask, patch)[0, 0].flatten() == 0


def shifted(
    tower: DenseCLIP, image: Tensor, outside: Sequence[Tensor], seen: dict[int, Tensor], ratio: float
) -> Tensor:
    """Unit class features (N, D) of crops (N, 3, h, w), `outside` (P,) of each being overwritten with `seen`."""
    trace = tower.as_trained(image, (-1 - len(tower.trunk.blocks),))
    x = trace.hidden(-1 - trace.depth)
    rows, columns = overwritten(outside, ratio)
    for index, block in enumerate(trace.blocks):
        x = run_block(block, x, trace.grid, trace.prefix)
        if index in seen:
            x[rows, columns + trace.prefix] = seen[index].to(x)
    return trace.class_features(x)


def overwritten(outside: Sequence[Tensor], ratio: float) -> tuple[Tensor, Tensor]:
    """Crop and patch of all that is overwritten, spread evenly over the background of each crop."""
    rows, columns = [], []
    for row, own in enumerate(outside):
        places = own.nonzero()[:, 0]
        count = int(ratio * len(places))
        steps = torch.arange(count, device=places.device) * len(places)
        columns.append(places[steps // max(count, 1)])
        rows.append(torch.full_like(columns[-1], row))
    return torch.cat(rows), torch.cat(columns)


def with_void(c: Tensor, void: Tensor) -> Tensor:
    """Of c (R, Q) and the probability of nothing (R, 1): c after nothing had its part, (R, Q)."""
    total = torch.cat([c / c.sum(1, keepdim=True) * (1 - void), void], dim=1) + SMALL
    return (total / total.sum(1, keepdim=True))[:, :-1]
