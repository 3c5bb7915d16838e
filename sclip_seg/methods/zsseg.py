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

from collections.abc import Iterator, Sequence
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
from ..regions.pieces import Piece, compact, pieces, shares
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
        found = list(pieces(regions, self.threshold))
        valid = torch.tensor([piece is not None for piece in found], dtype=torch.bool, device=picture.image.device)
        of_all = picture.image.new_zeros(len(found), picture.text.features.shape[1])
        if valid.any():
            of_all[valid] = self.read(normalised(picture), [piece for piece in found if piece], picture)
        return of_all, valid

    def read(self, image: Tensor, found: list[Piece], picture: Picture) -> Tensor:
        """Unit features (R, D) of pieces of the normalised picture (3, H, W)."""
        batches = crops(image, found, picture.tower.native, picture.batch)
        return torch.cat([class_features(picture.tower, batch) for batch in batches])

    def chances(self, regions: SoftRegions, p: Tensor, valid: Tensor, picture: Picture) -> Tensor:
        """What each mask adds to the queries' scores, (R, Q)."""
        if self.head is None:
            return torch.where(valid[:, None], regions.objectness[:, None] * p, 0)
        if regions.embeddings is None:
            raise InputError(f"a head reads the embeddings of queries, and {self.regions.name} gives none")
        text = picture.text
        q = self.head.probabilities(regions.embeddings, text.features, picture.labelling.scale)
        return self.fuse(q, p.masked_fill(~valid[:, None], 1), self.seen.to(p.device)[text.owner])

    def fuse(self, q: Tensor, p: Tensor, seen: Tensor) -> Tensor:
        """The head's probabilities (R, Q + 1) and the crops' (R, Q): one number for each, (R, Q)."""
        return fused(q[:, :-1], p, self.share, seen)


def normalised(picture: Picture) -> Tensor:
    """The picture at its full size, (3, H, W), by the weights' statistics as they are."""
    rgb = torch.from_numpy(picture.pixels()).permute(2, 0, 1).to(picture.image.device).float() / 255
    mean, std = (rgb.new_tensor(values).view(3, 1, 1) for values in (picture.trunk.mean, picture.trunk.std))
    return (rgb - mean) / std


def crops(image: Tensor, found: Sequence[Piece], size: tuple[int, int], batch: int) -> Iterator[Tensor]:
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
    soft, count = isinstance(regions, SoftRegions), regions.count
    resized = replace(regions, size=size) if soft else Regions(nearest(compact(regions).ids, size))
    total = picture.image.new_zeros(count, picture.patches.shape[1])
    for box, window in zip(picture.plan.boxes(), picture.patches, strict=True):
        unit = F.normalize(window.float().flatten(1), dim=0)
        total += shares(resized, count, picture.plan.area(box), grid) @ unit.T
    return F.normalize(total, dim=1), total.any(1)


def fused(q: Tensor, p: Tensor, share: float, seen: Tensor) -> Tensor:
    """q^(1-w) p^w of (R, Q) each; of the queries `seen` (Q,) in training q^w p^(1-w)."""
    w = torch.where(seen, 1 - share, share)
    return q ** (1 - w) * p**w


def mixture(regions: SoftRegions, chances: Tensor, valid: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Σ_r c_r m_r (Q, H, W) of chances (R, Q), and where any valid mask is above the threshold, (H, W)."""
    total = chances.new_zeros(chances.shape[1], *regions.size)
    somewhere = torch.zeros(regions.size, dtype=torch.bool, device=chances.device)
    for start in range(0, len(chances), TOGETHER):
        part = slice(start, start + TOGETHER)
        masks = regions.masks(part)
        total += torch.einsum("rq,rhw->qhw", chances[part], masks)
        somewhere |= (masks[valid[part]] > threshold).any(0)
    return total, somewhere
