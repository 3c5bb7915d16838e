"""CLIPer (Sun et al., ICCV 2025, arXiv 2411.13836) without Stable Diffusion: whole pictures, read at every depth.

X^l: tokens after block l of L, X^0 the trunk's start; A^l: attention of block l; c, r: division of each column, of
each row, by its sum. From B^0 = Σ_{l<L} A^l, a sum per head, for k = 1 .. L:

    B^k = r(c(B^{k-1})),   M = ½ (B^k + B^kᵀ),   G^k = r(max(0, M - mean of each column))
    Y^k = LN1_k(X^{k-1}),  Y^L = X^{L-1};   f^k = LN_post(W_o G^k V_L(LN1_L Y^k) + b_o) proj
    p^k = softmax of τ cos(f^k, ·) over the queries, the words beside them and the mean of the foreground's queries
    t = p^s, entries below θ times the query's largest set to 0, in p too;   score_j = Σ_i t_i Ḡ_ij + mean_k p^k_j

Ḡ is the mean of G^L over heads, of patches. With windows (`whole`), p is averaged with the whole picture's: the
τ cos of all windows, averaged patch by patch, times W from the right, with W the windows' Ḡ averaged entry by entry,
rows of sum 1. `CLIPerMaps` makes class maps of the scores, and says where there is none.

Official code: github.com/linsun449/cliper.code (`modified_clip/model.py`, `ovs/pipeline.py`). Followed where it departs
from what one would write: input k has seen k normalisations, the first L - 1 inputs are normalised twice, the
threshold moves the mean, the affinity stands on the right, so that weights of a patch do not sum to 1. Not followed:

* Sides go to multiples of the patch by a second bilinear resize (there one bicubic one of PIL); positions are not
  rounded to half precision.
* Without a background its labels are 0, a miss, where every score is below the threshold. Here a label is a class,
  so the best one stands.
* Its evaluation leaves out classes that occur in no label; COCO-Object is counted there on the masks of COCO 2014.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.refine.presence import REMOVED, absent_queries, best_of_classes, best_on_patches
from ..picture.refine.step import ScoreStep
from ..picture.scores import DenseMaps, StitchedMaps
from ..picture.window import Windows
from ..registry import ATTENTION, STEPS, TAILS
from ..settings import NonNegative, Positive, Range, Real, Share
from ..towers.attention import Attention, AttentionMaps, given, softmax
from ..towers.tail import Gathered, Tail, maps_of
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..words.text import TextBank

SMALLEST = torch.finfo(torch.float32).tiny
FromEnd = Annotated[int, Range(-1000, -1)]


@TAILS.register_module()
class CLIPer(Tail):
    """Several readings of the trunk at once, mixed by the affinity of all its attentions.

    Args:
        scale: τ.
        threshold: θ.
        selected: s, counted from the end: -1 is the last reading.
        beside: words of no class that the queries are set against; a vocabulary with a background has them as its
            queries.
        fuse: read all inputs; False is the selected one alone, without the mean.
        attention: a name or dict of `ATTENTION` in place of G^k, from each input's own queries, keys and values.
        whole: the whole picture is read beside its windows.
    """

    def __init__(
        self,
        scale: Positive = 100.0,
        threshold: Share = 0.1,
        selected: FromEnd = -1,
        beside: list[str] | tuple[str, ...] = (),
        fuse: bool = True,
        attention: str | dict | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.scale, self.threshold, self.selected, self.fuse = scale, threshold, selected, fuse
        self.beside, self.needs_whole = tuple(beside), whole
        self.attention = None if attention is None else ATTENTION.build(attention)

    def check_window(self, window: dict, patch: int) -> None:
        if self.needs_whole and (window["padding"] != "stretch" or any((window[k] or 0) % patch for k in SIDES)):
            raise InputError(
                f"window.crop={window['crop']}, window.stride={window['stride']}: with the whole picture beside them "
                f"windows are joined patch by patch, so both must be multiples of the patch ({patch}), without padding"
            )

    def fitted(self, image: Tensor, window: dict, patch: int) -> Tensor:
        """(3, H, W) with sides at the nearest multiples of the patch."""
        size = [max(int(side / patch + 0.5), 1) * patch for side in image.shape[1:]]
        if size == list(image.shape[1:]):
            return image
        return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]

    def reads(self, depth: int) -> Iterable[int]:
        if depth < 2 or -self.selected > depth:
            raise InputError(f"CLIPer reads input {self.selected} of two blocks or more; the tower has {depth}")
        return [block - 1 - depth for block in range(depth)]

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, h, w) of the selected reading."""
        return self.readings(trace)[0][self.selected]

    def readings(self, trace: Trace) -> tuple[list[Tensor], Tensor]:
        """f^1 .. f^L (N, D, h, w), or the selected one alone, and Ḡ (N, P, P)."""
        features, weights = [], None
        for index, (t, mixes) in enumerate(self.mixed(trace)):
            if self.fuse or index - trace.depth == self.selected:
                features.append(trace.patches(t.output(mixes @ t.v)))
            if index == trace.depth - 1:
                weights = maps_of(t, mixes).weights.mean(1)[:, trace.prefix :, trace.prefix :]
        return features, weights

    def mixed(self, trace: Trace) -> Iterator[tuple[QKV, Attention | Tensor]]:
        """Each input as the last block sees it, and the weights that its values are mixed with."""
        affinity = None if self.attention else affinities(trace)
        for index, block in enumerate(trace.blocks):
            tokens = trace.before(index)
            tokens = tokens if index == trace.depth - 1 else block.normed(tokens)
            t = trace.looked(-1, tokens)
            yield t, self.attention(t) if self.attention else given(next(affinity))

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """G^L, or what is in its place."""
        *_, (t, mixes) = self.mixed(trace)
        return maps_of(t, mixes)

    def logits(self, features: list[Tensor], text: TextBank) -> Tensor:
        """τ cos of the readings with all rows of the softmax: (N, L, R, P), the queries first; fp32."""
        rows = torch.cat([text.features, *([] if text.beside is None else [text.beside]), mean_of_things(text)])
        unit = F.normalize(torch.stack(features, dim=1).float(), dim=2)
        return self.scale * torch.einsum("nldhw,rd->nlrhw", unit, rows).flatten(3)

    def combined(self, probability: Tensor, affinity: Tensor) -> Tensor:
        """p (N, L, Q, P) of the queries and Ḡ (N, P, P) -> scores (N, Q, P)."""
        which = self.selected if self.fuse else -1
        own = probability[:, which]
        own = own * (own >= self.threshold * own.amax(-1, keepdim=True))
        if not self.fuse:
            return own @ affinity
        probability = probability.clone()
        probability[:, which] = own
        return own @ affinity + probability.mean(1)

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        features, affinity = self.readings(trace)
        probability = self.logits(features, text).softmax(2)[:, :, : len(text.features)]
        return self.combined(probability, affinity).unflatten(2, trace.grid)

    def gather(self, trace: Trace, text: TextBank) -> Gathered:
        if not self.needs_whole:
            return super().gather(trace, text)
        features, affinity = self.readings(trace)
        return {"logits": self.logits(features, text).unflatten(3, trace.grid), "affinity": affinity}

    def read(self, picture: Picture) -> Scores:
        if not self.needs_whole:
            return super().read(picture)
        whole, windows = picture.whole["logits"], picture.gathered["logits"]
        own = picture.plan.joined(windows.flatten(1, 2)).view_as(whole).flatten(3)
        mixed = own @ joined_affinity(picture.gathered["affinity"], picture.plan)
        queries = len(picture.text.features)
        probability = (mixed.softmax(2) + whole.flatten(3).softmax(2))[:, :, :queries] / 2
        scores = self.combined(probability, picture.whole["affinity"])
        return picture.scored(scores.unflatten(2, whole.shape[3:]), whole=True)


@STEPS.register_module()
class CLIPerMaps(ScoreStep):
    """Class maps of CLIPer's scores: each query's map keeps the maximum it had on the patches; absent classes leave.

    The background, where there is one, has the pixels that no class is left at; its own scores have no part.

    Args:
        score_threshold: classes whose best score on the patches is at most that leave the picture.
        threshold: values below it become background. 0 sets the maps against a background of (1 - largest value)².
        normalise: each map is first stretched to [0, 1].
    """

    def __init__(self, score_threshold: Real = 0.0, threshold: NonNegative = 0.0, normalise: bool = False) -> None:
        super().__init__()
        self.score_threshold, self.threshold, self.normalise = score_threshold, threshold, normalise

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> DenseMaps:
        rule, best = picture.labelling, best_on_patches(maps)
        scores = maps.dense()
        scores = scores / (scores.amax((1, 2), keepdim=True) + 1e-5) * best[:, None, None]
        if self.normalise:
            scores = scores - scores.amin((1, 2), keepdim=True)
            scores = scores / (scores.amax((1, 2), keepdim=True) + 1e-6)
        absent = absent_queries(best_of_classes(best, rule) <= self.score_threshold, rule)
        scores = scores.masked_fill(absent[:, None, None], REMOVED)
        if rule.background is None:
            return DenseMaps(scores)
        own = rule.owner == rule.background
        if self.threshold:
            scores = scores.masked_fill(scores < self.threshold, REMOVED)
            return DenseMaps(scores.masked_fill(own[:, None, None], 0.0))
        largest = scores[~own].clamp(min=0).amax(0) if not own.all() else torch.zeros_like(scores[0])
        return DenseMaps(torch.where(own[:, None, None], (1 - largest) ** 2, scores))


SIDES = ("crop", "stride")


def affinities(trace: Trace) -> Iterator[Tensor]:
    """G^1 .. G^L (N, heads, T, T), fp32."""
    blocks = (trace.qkv(block) for block in range(trace.depth - 1))
    maps = sum(softmax(t.q, t.k, t.scale).weights() for t in blocks)
    for _ in range(trace.depth):
        maps = normalised(normalised(maps, 2), 3)
        level = (maps + maps.transpose(2, 3)) / 2
        yield normalised((level - level.mean(2, keepdim=True)).clamp(min=0), 3)


def normalised(maps: Tensor, dim: int) -> Tensor:
    """Divided by the sums along an axis, where these are not 0."""
    return maps / maps.sum(dim, keepdim=True).clamp(min=SMALLEST)


def mean_of_things(text: TextBank) -> Tensor:
    """Unit mean (1, D) of the queries of all classes but the background."""
    things = text.features if text.background is None else text.features[text.owner != text.background]
    return F.normalize((things if len(things) else text.features).mean(0, keepdim=True), dim=1)


def joined_affinity(affinity: Tensor, plan: Windows) -> Tensor:
    """W (P, P) of a picture from Ḡ (N, p, p) of its windows."""
    patch = plan.rows.patch
    height, width = plan.rows.side // patch, plan.columns.side // patch
    cells = torch.arange(height * width, device=affinity.device).view(height, width)
    total = affinity.new_zeros(2, height * width, height * width)
    for own, (top, left, bottom, right) in zip(affinity, plan.boxes(), strict=True):
        seen = cells[top // patch : bottom // patch, left // patch : right // patch].flatten()
        total[:, seen[:, None], seen] += torch.stack([own, torch.ones_like(own)])
    return normalised(total[0] / (total[1] + 1e-5), 1)
