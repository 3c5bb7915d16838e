"""zsseg (SimSeg; ECCV 2022, arXiv 2112.14757): masks without names, and CLIP names the crop of each.

m (R, H, W) are masks of any provider, b = m > t, T the texts, f the unit class feature of a crop: the box of b in the
picture, the rest of it CLIP's mean colour, to the tower's square bicubically, its proportions ignored:

    p = softmax(τ f T),   S = Σ_r o_r p_r m_r

o is how sure it is that r is something; of a hard map m is 0 or 1, and o is 1. Trained (`head`): e are the segmenter's
own embeddings and v its vector for nothing, whose column is then left out,

    q = softmax(τ ê [T; v̂]),   S = Σ_r q_r^(1-w) p_r^w m_r;   of classes that it was trained on q^w p^(1-w)

and an empty mask has p = 1. Without any training it is the paper's reading of the proposals by CLIP alone, w = 1.

As a stage it acts on the scores s of any method. Released, a pixel in no region is class 0; here it keeps s. Within
regions the method's own probabilities may have a part, softmax(τ s)^d S^(1-d), d = 0 as released. The cheap reader
('patches') takes for f the mean of the method's unit features on a region's patches, each by its share: no crop goes
through the tower. Crops are cut from the picture at its full size, where the released code first resizes it.

Official code: github.com/MendelXu/zsseg.baseline, followed in these points; its positions are resampled at the
tower's own size too, which moves nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.picture import Picture, Scores
from ..picture.stage import Stage
from ..regions.head import ProposalHead
from ..regions.pieces import Piece, compact, pieces, shares, soft_shares
from ..regions.regions import VOID, Regions, SoftRegions, nearest
from ..registry import REGIONS, STAGES
from ..settings import Share
from ..towers.encoder import DenseCLIP
from ..words.vocabulary import Vocabulary

TOGETHER = 16  # masks at their full size that are held at a time


@STAGES.register_module()
class ZSSeg(Stage):
    """Names regions, and gives their pixels what CLIP says of the whole.

    Args:
        regions: config of a `RegionProvider`, or its name.
        reader: 'crops' through the tower, or 'patches' of the method's own features.
        threshold: t, of soft masks.
        dense: d, the part of the method's own probabilities within regions.
        head: a file with the trained segmenter's head (`ProposalHead.load`), or None.
        share: w, of the crops beside the head.
        trained: names of the classes that the head was trained on, whose shares change places.
    """

    needs_original = True

    def __init__(
        self,
        regions: dict | str,
        reader: Literal["crops", "patches"] = "crops",
        threshold: Share = 0.5,
        dense: Share = 0.0,
        head: str | None = None,
        share: Share = 0.8,
        trained: list[str] | tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.regions, self.reader, self.needs_features = REGIONS.build(regions), reader, reader == "patches"
        self.threshold, self.dense, self.share, self.trained = threshold, dense, share, frozenset(trained)
        self.head = None if head is None else ProposalHead.load(head)

    def check(self, vocabulary: Vocabulary, templates: Sequence[str]) -> None:
        if missing := sorted(self.trained - set(vocabulary.names)):
            raise InputError(f"trained names {missing[0]!r}, which is no class of the vocabulary {vocabulary.name}")
        self.seen = torch.tensor([name in self.trained for name in vocabulary.names])

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        regions = picture.proposals(self.regions)
        own = scores.maps(regions.size).dense()
        found, valid = self.features(regions, picture)
        named = found @ picture.text.features.T
        if isinstance(regions, SoftRegions):
            scale = picture.labelling.scale
            chances = self.chances(regions, (scale * named).softmax(1), valid, picture)
            total, somewhere = mixture(regions, chances, valid, self.threshold)
            within = total.clamp(min=torch.finfo(total.dtype).tiny).log() / scale
        elif self.head is not None:
            raise InputError(f"a head reads the embeddings of soft masks; {self.regions.name} gives a map")
        else:
            place = compact(regions).ids.long()
            somewhere = (place != VOID) & F.pad(valid, (1, 0))[place + 1]
            within = F.pad(named, (0, 0, 1, 0))[place + 1].movedim(2, 0)
        return picture.scored_by_pixels(torch.where(somewhere, (1 - self.dense) * within + self.dense * own, own))

    def features(self, regions: Regions | SoftRegions, picture: Picture) -> tuple[Tensor, Tensor]:
        """Unit features (R, D), fp32, of all regions, and which of them have any (R,)."""
        if self.reader == "patches":
            return means(regions, picture)
        valid: list[bool] = []
        found = there(pieces(regions, self.threshold), valid)
        read = [*self.read(normalised(picture), found, picture)]
        of_all = picture.image.new_zeros(len(valid), picture.text.features.shape[1])
        of_valid = torch.tensor(valid, dtype=torch.bool, device=of_all.device)
        if read:
            of_all[of_valid] = torch.cat(read)
        return of_all, of_valid

    def read(self, image: Tensor, found: Iterator[Piece], picture: Picture) -> Iterator[Tensor]:
        """Unit features (n, D) of pieces of the normalised picture (3, H, W), some at a time."""
        for batch in crops(image, found, picture.tower.native, picture.batch):
            yield class_features(picture.tower, batch)

    def chances(self, regions: SoftRegions, p: Tensor, valid: Tensor, picture: Picture) -> Tensor:
        """What each mask adds to the queries' scores, (R, Q)."""
        if self.head is None:
            return torch.where(valid[:, None], regions.objectness[:, None] * p, 0)
        if regions.embeddings is None:
            raise InputError(f"a head reads the embeddings of queries, and {self.regions.name} gives none")
        text, scale = picture.text, picture.labelling.scale
        q = self.head.named(self.queries(regions.embeddings, picture), text.features, scale)
        return self.fuse(q, p.masked_fill(~valid[:, None], 1), self.seen.to(p.device)[text.owner])

    def queries(self, embeddings: Tensor, picture: Picture) -> Tensor:
        """The queries' embeddings (R, C) as the head holds them against texts, (R, D)."""
        return self.head.embedded(embeddings)

    def fuse(self, q: Tensor, p: Tensor, seen: Tensor) -> Tensor:
        """The head's probabilities (R, Q + 1) and the crops' (R, Q): one number for each, (R, Q)."""
        return fused(q[:, :-1], p, self.share, seen)


def normalised(picture: Picture) -> Tensor:
    """The picture at its full size, (3, H, W), by the weights' statistics as they are."""
    rgb = torch.from_numpy(picture.pixels()).permute(2, 0, 1).to(picture.image.device).float() / 255
    mean, std = (rgb.new_tensor(values).view(3, 1, 1) for values in (picture.trunk.mean, picture.trunk.std))
    return (rgb - mean) / std


def there(found: Iterable[Piece | None], valid: list[bool]) -> Iterator[Piece]:
    """The pieces that have a pixel, one after the other; `valid` gets who has one."""
    for piece in found:
        valid.append(piece is not None)
        if piece is not None:
            yield piece


def crops(image: Tensor, found: Iterable[Piece], size: tuple[int, int], batch: int) -> Iterator[Tensor]:
    """Each piece of a normalised picture (3, H, W) at `size`, in batches (n, 3, h, w)."""
    resized = (F.interpolate(piece.cut(image)[None], size, mode="bicubic", align_corners=False)[0] for piece in found)
    while part := list(islice(resized, batch)):
        yield torch.stack(part)


def class_features(tower: DenseCLIP, image: Tensor) -> Tensor:
    """Unit class features (N, D), fp32, of normalised pictures (N, 3, H, W)."""
    trace = tower.as_trained(image, (-1,))
    return trace.class_features(trace.hidden(-1))


def means(regions: Regions | SoftRegions, picture: Picture) -> tuple[Tensor, Tensor]:
    """Unit means (R, D) of a picture's unit patch features in each region, windows together, and who has any."""
    size, grid = tuple(picture.fitted.shape[1:]), tuple(picture.patches.shape[2:])
    units = F.normalize(picture.patches.float().flatten(2), dim=1)
    boxes = [picture.plan.area(box) for box in picture.plan.boxes()]
    total = picture.image.new_zeros(regions.count, units.shape[1])
    if isinstance(regions, SoftRegions):
        resized = replace(regions, size=size)
        for part in chunks(regions.count):
            masks = resized.masks(part)
            for area, unit in zip(boxes, units, strict=True):
                total[part] += soft_shares(masks, area, grid) @ unit.T
    else:
        resized = Regions(nearest(compact(regions).ids, size))
        for area, unit in zip(boxes, units, strict=True):
            total += shares(resized, regions.count, area, grid) @ unit.T
    return F.normalize(total, dim=1), total.any(1)


def fused(q: Tensor, p: Tensor, share: float, seen: Tensor) -> Tensor:
    """q^(1-w) p^w of (R, Q) each; of the queries `seen` (Q,) in training q^w p^(1-w)."""
    w = torch.where(seen, 1 - share, share)
    return q ** (1 - w) * p**w


def mixture(regions: SoftRegions, chances: Tensor, valid: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Σ_r c_r m_r (Q, H, W) of chances (R, Q), and where any valid mask is above the threshold, (H, W)."""
    total = chances.new_zeros(chances.shape[1], *regions.size)
    somewhere = torch.zeros(regions.size, dtype=torch.bool, device=chances.device)
    for part in chunks(len(chances)):
        masks = regions.masks(part)
        total += torch.einsum("rq,rhw->qhw", chances[part], masks)
        somewhere |= (masks[valid[part]] > threshold).any(0)
    return total, somewhere


def chunks(count: int) -> Iterator[slice]:
    """Of that many masks some at a time."""
    return (slice(start, start + TOGETHER) for start in range(0, count, TOGETHER))
