"""FLOSS (arXiv 2504.10487): for each class the templates that are surest of it, and one map of all these experts.

w^e: bank of all queries under the four templates of query e's class; P^e = softmax(τ F·w^e) over the queries on the
patches, enlarged to the window's pixels, τ the model's scale; P that of the usual bank. At a pixel

    O = {e : argmax P^e = e};   the vector is P where O is empty, else P^e of the e in O with the largest P^e_e

and it takes the place of the scores, so that a label is the largest of these probabilities, averaged over windows.
Which templates: `TemplateRanking`, on unlabelled pictures of the target, p the probabilities of all classes by one
template τ, at the picture's size:

    H(c, τ) = mean of -Σ_k p_k ln(p_k + 1e-10) over all pixels whose label is c;   the least first

A template that never answers c has no H(c, ·) and no rank. With synonyms p_k is the largest of class k's queries.
Looking at pictures of the target, even unlabelled ones, is more than other methods do: it stands in the signature.

Official code: github.com/yasserben/FLOSS (the branch of NACLIP, scale 100, without PAMR), followed; the scores of the
model's own bank are here those of the method, whatever they are.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...registry import STAGES
from ...settings import Count, Natural
from ...towers.tail import cosines
from ...words.experts import Experts
from ...words.vocabulary import Vocabulary
from ..picture import Picture, Scores
from ..stage import Stage

TINY = 1e-10


@STAGES.register_module()
class TemplateExperts(Stage):
    """Probabilities of the experts in place of the scores, pixel by pixel of each window.

    Args:
        experts: the file that `sclip-seg rank-templates` wrote; or lists of templates' numbers, of each class or query.
        top: how many of a class's templates are its expert.
    """

    needs_features = True
    needs_templates = True

    def __init__(self, experts: str | list[list[Natural]], top: Count = 4) -> None:
        super().__init__()
        self.experts, self.top = Experts.load(experts), top

    def check(self, vocabulary: Vocabulary, templates: Sequence[str]) -> None:
        self.experts.check(vocabulary, templates)

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        plan, scale, text = picture.plan, picture.labelling.scale, picture.text
        axes = plan.rows, plan.columns
        size = tuple(axis.crop + axis.before + axis.after for axis in axes)
        chosen = self.experts.of_queries(text.owner.tolist(), self.top)
        banks = [F.normalize(text.single[:, templates].mean(1), dim=1) for templates in chosen]
        tiles = scores.on(plan, tuple(picture.patches.shape[2:]))
        fused = []
        for own, features in zip(tiles, picture.patches, strict=True):
            of_experts = (cosines(features[None], bank)[0] for bank in banks)
            maps = (enlarged((scale * cells).softmax(0), size) for cells in of_experts)
            fused.append(fuse(maps, enlarged((scale * own).softmax(0), size)))
        return picture.scored(torch.stack(fused))


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(Q, h, w) -> (Q, *size), bilinearly."""
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def fuse(experts: Iterable[Tensor], default: Tensor) -> Tensor:
    """One map (Q, H, W) of the experts' (Q, H, W), in the queries' order, and of that without any of them."""
    fused, best = default, torch.full_like(default[0], -torch.inf)
    for index, maps in enumerate(experts):
        wins = (maps.argmax(0) == index) & (maps[index] > best)
        best = torch.where(wins, maps[index], best)
        fused = torch.where(wins, maps, fused)
    return fused


class TemplateRanking(Stage):
    """Leaves the scores as they are, and counts how sure each template is of each class in every picture it sees.

    `entropy` (K, T) sums it over the pixels of `count` (K, T); `pixels` is the number of all. float64.
    """

    needs_features = True
    needs_templates = True

    def __init__(self) -> None:
        super().__init__()
        self.entropy: Tensor | float = 0.0
        self.count: Tensor | float = 0.0
        self.pixels = 0

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        self.add(self.probabilities(picture))
        return scores

    def probabilities(self, picture: Picture) -> Iterator[Tensor]:
        """Of the classes, (K, H, W), template by template."""
        for template in range(picture.text.single.shape[1]):
            tiles = torch.cat([cosines(some, picture.text.single[:, template]) for some in picture.patches.split(16)])
            yield picture.labelling.probabilities(picture.scored(tiles).maps(picture.size))

    def add(self, templates: Iterable[Tensor]) -> None:
        """One picture, by each template: probabilities (K, H, W) of its classes."""
        found = [sums(p) for p in templates]
        self.entropy = self.entropy + torch.stack([entropy for entropy, _ in found], dim=1)
        self.count = self.count + torch.stack([count for _, count in found], dim=1)
        self.pixels += int(found[0][1].sum())

    @property
    def mean(self) -> Tensor:
        """H (K, T), 0 where a template never answers the class."""
        return self.entropy / self.count.clamp(min=1)

    def ranked(self) -> list[list[int]]:
        """Of each class the templates that ever answer it, the surest first, the first of equals first."""
        order = self.mean.argsort(dim=1, stable=True).tolist()
        return [[t for t in row if count[t] > 0] for row, count in zip(order, self.count.tolist(), strict=True)]


def sums(p: Tensor) -> tuple[Tensor, Tensor]:
    """Of class probabilities (K, H, W): the entropies of each label's pixels, summed (K,), and how many they are."""
    label = p.argmax(0).flatten()
    entropy = -(p * (p + TINY).log()).sum(0).flatten().double()
    count = label.bincount(minlength=len(p))
    return torch.zeros(len(p), dtype=torch.float64, device=p.device).index_add(0, label, entropy).cpu(), count.cpu()
