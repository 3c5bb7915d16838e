"""CLIPtrase (Shao et al., ECCV 2024, arXiv 2407.08268): self-correlation, clustered into regions that vote.

    A = softmax(q qᵀ/√d) + softmax(k kᵀ/√d) + softmax(v vᵀ/√d)      last block, residual and FFN kept
    W = mean over heads of ⅓ [cos(q_i, q_j) + cos(k_i, k_j) + cos(v_i, v_j)]      of the block before it
    E_ij = max(0, W_ij - W_CLS,j);   clusters of its rows by DBSCAN;   regions = argmax over the clusters' mean rows
    (bilinear x4, median of 7 x 7, bilinear to pixels);   label = the most frequent label of the pixel's region

The vote is over pixels of one window. Here it is a score, the share of the region's pixels that have the label, so
that a window by itself gives the published labels, and several windows are averaged like any scores.

Official code: github.com/leaves162/CLIPtrase (`clip_self_correlation.py`, `clip_utils/attn2.py`). Sum of three maps and
a clustering one block earlier there, mean and the same block in the paper's figure ('mean' is an option). On VOC20 its
scores are multiplied by the class token's (`image_prior`), which the paper does not mention. The thresholds of DBSCAN
are absolute distances of rows of that length: 0.7 and 3 for 14 x 14 patches, 1.1 and 7 for 21 x 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter
from sklearn.cluster import DBSCAN
from torch import Tensor

from ..registry import TAILS
from ..settings import Count, Positive
from ..towers.tail import LastBlock, cosines
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..words.text import TextBank

ENLARGE = 4  # the cluster maps before the median, whose side is twice that less one


@TAILS.register_module()
class CLIPtrase(LastBlock):
    """Self-correlation attention, and regions that vote.

    Args:
        eps, min_samples: of DBSCAN, for the number of patches of a window.
        cluster: let regions vote; without it the scores are cosines.
        image_prior: multiply the patches' scores by the class token's.
        reduce: 'sum' or 'mean' of the three maps.
    """

    needs_class_token = ("cluster",)

    def __init__(
        self,
        eps: Positive = 0.7,
        min_samples: Count = 3,
        cluster: bool = True,
        image_prior: bool = False,
        reduce: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__(dict(type="combination", of=("qq", "kk", "vv"), reduce=reduce))
        self.eps, self.min_samples, self.cluster, self.image_prior = eps, min_samples, cluster, image_prior

    def reads(self, depth: int) -> Iterable[int]:
        return (-3, -2) if self.cluster else (-2,)

    def score(self, trace: Trace, text: TextBank) -> Tensor:
        tokens = self.tokens(trace, text)
        scores = cosines(trace.patches(tokens), text.features)
        if self.image_prior:
            window = trace.class_features(tokens) @ text.features.T
            scores = scores * window[:, :, None, None]
        return self.vote(scores, trace, text) if self.cluster else scores

    def vote(self, scores: Tensor, trace: Trace, text: TextBank) -> Tensor:
        """Scores (N, Q, h, w) -> the regions' votes for each query's class, at pixels (N, Q, H, W)."""
        evidence, size = denoise(self_correlation(trace.qkv(-2)), trace.prefix), trace.image.shape[2:]
        windows = []
        for own, rows in zip(scores, evidence, strict=True):
            labels = text.owner[F.interpolate(own[None], size, mode="bilinear", align_corners=False)[0].argmax(0)]
            found = regions(rows, trace.grid, size, self.eps, self.min_samples)
            windows.append(votes(labels, found, text.classes)[text.owner])
        return torch.stack(windows)


def self_correlation(t: QKV) -> Tensor:
    """W (N, T, T), fp32."""
    unit = [F.normalize(p.float(), dim=-1).transpose(1, 2).flatten(2) for p in (t.q, t.k, t.v)]
    return sum(p @ p.transpose(1, 2) for p in unit) / (3 * t.heads)  # joined heads: the product sums over them


def denoise(correlation: Tensor, prefix: int = 1) -> Tensor:
    """W (N, T, T) -> E (N, P, P): between patches, less the class token's row, no less than 0."""
    return (correlation[:, prefix:, prefix:] - correlation[:, :1, prefix:]).clamp(min=0)


def regions(
    evidence: Tensor, grid: tuple[int, int], size: tuple[int, int], eps: float, min_samples: int
) -> Tensor | None:
    """Region of each pixel (H, W), int64, of one window's E (P, P); None where nothing clusters."""
    rows = evidence.cpu()  # clusters and medians are computed there
    cluster = torch.from_numpy(DBSCAN(eps=eps, min_samples=min_samples).fit_predict(rows.numpy()))
    if (cluster < 0).all():
        return None
    means = torch.stack([rows[cluster == c].mean(0) for c in range(int(cluster.max()) + 1)]).unflatten(1, grid)
    large = F.interpolate(means[None], scale_factor=ENLARGE, mode="bilinear", align_corners=False)[0]
    side = 2 * ENLARGE - 1
    smooth = torch.from_numpy(median_filter(large.numpy(), size=(1, side, side)))
    return F.interpolate(smooth[None].to(evidence), size, mode="bilinear", align_corners=False)[0].argmax(0)


def votes(labels: Tensor, region: Tensor | None, classes: int) -> Tensor:
    """Share of each class among the pixels of a pixel's region, (K, H, W), fp32; its own label without regions."""
    own = F.one_hot(labels, classes).permute(2, 0, 1).float()
    if region is None:
        return own
    count = int(region.max()) + 1
    ballots = torch.zeros(count * classes, dtype=torch.long, device=labels.device)
    ballots.scatter_add_(0, (region * classes + labels).flatten(), torch.ones_like(labels).flatten())
    ballots = ballots.view(count, classes)
    share = ballots / ballots.sum(1, keepdim=True).clamp(min=1)
    return share[region].permute(2, 0, 1)
