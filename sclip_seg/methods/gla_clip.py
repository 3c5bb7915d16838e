"""GLA-CLIP (CVPR 2026, arXiv 2603.23030): attention over the tokens of all windows of a picture.

ProxyCLIP, whose queries see the keys and values of all B windows, overlaps and all. With k the unit features of a guide
and v CLIP's values on its grid, N tokens in all, and p⁰ = k, S⁰ = p⁰ kᵀ, two rounds make a proxy of every query:

    M = [S > ρ], M_ii = 1 in an empty row;   n = Σ_j M_ij;   p = unit(Σ_j M_ij k_j / n);   S = p kᵀ
    A_ij = (S_ij - u·max(0, mean_j S_ij))·(1 + γ / n_i),   u = 1 + β ln(1 + B)
    P = softmax(A) over the entries that are not negative, or the row's largest where all are
    F = LN_post(W_o P v + b_o) proj                 (no residual, no FFN; the class token has no part)

β = 0.3, γ = 30. The paper says ρ = 0.6, the released code runs 0.55, which is followed. Official code:
github.com/2btlFe/GLA-CLIP (`myutils.py`), for square windows, in half precision throughout; here similarities, counts
and the softmax are of fp32. Every row depends on itself alone, so rows come in chunks: memory moves no score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import GUIDES, TAILS
from ..settings import Natural, NonNegative, Real
from ..towers.attention import AttentionMaps
from ..towers.tail import Tail, cosines
from ..towers.trace import Trace
from .proxyclip import guided, unit_tokens

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..towers.trace import Trunk
    from ..words.text import TextBank

CHUNK = 2**23  # similarities that are held at a time


@TAILS.register_module()
class GLACLIP(Tail):
    """Features of every window on the guide's grid, each token mixed from the values of all windows.

    Args:
        guide: config of a `Guide`.
        rho: ρ, the similarity beyond which keys make a proxy.
        rounds: how often the proxies are made; with 0 the queries stay the keys, and n is that of the first M.
        beta: β; None is ProxyCLIP's u = 1.2.
        gamma: γ; None is ProxyCLIP's factor, 3.
    """

    looks_across = True

    def __init__(
        self,
        guide: dict,
        rho: Real = 0.55,
        rounds: Natural = 2,
        beta: NonNegative | None = 0.3,
        gamma: NonNegative | None = 30.0,
    ) -> None:
        super().__init__()
        self.guide = GUIDES.build(guide)
        self.unit, self.rho, self.rounds, self.beta, self.gamma = self.guide.unit, rho, rounds, beta, gamma

    def forward(self, trace: Trace, text: TextBank | None) -> Tensor:
        """Features (N, D, H', W') of windows, each a picture by itself."""
        features, values = guided(trace, self.guide).values()
        alone = [self.join(trace, f[None], v[None]) for f, v in zip(features, values, strict=True)]
        return torch.cat(alone)

    def last_attention(self, trace: Trace, text: TextBank | None) -> AttentionMaps:
        """P of each window, a picture by itself."""
        features = self.guide(trace.pixels)
        tokens = torch.arange(features.shape[2] * features.shape[3], device=features.device)
        maps = [self.weights(unit_tokens(window[None]), tokens, 1) for window in features]
        return AttentionMaps(torch.stack(maps)[:, None], tuple(features.shape[2:]), prefix=0)

    def gather(self, trace: Trace, text: TextBank) -> dict[str, Tensor]:
        return guided(trace, self.guide)

    def read(self, picture: Picture) -> Scores:
        features = self.join(picture.trunk, picture.gathered["features"], picture.gathered["values"])
        return picture.scored(cosines(features, picture.text.features))

    def attention_across(self, picture: Picture, y: float, x: float) -> Tensor:
        """P of the token under the point in the window whose middle is nearest to it."""
        features, plan = picture.gathered["features"], picture.plan
        count, _, height, width = features.shape
        box = plan.around(y, x)
        row, column = plan.cell(y - box[0], x - box[1], (height, width))
        token = (plan.boxes().index(box) * height + row) * width + column
        weights = self.weights(unit_tokens(features), torch.tensor([token], device=features.device), count)
        return weights.view(count, 1, height, width)

    def join(self, trunk: Trunk, features: Tensor, values: Tensor) -> Tensor:
        """Features (B, D, H', W') of a picture's windows from its guide's (B, C, H', W') and values (B, H'·W', C')."""
        keys, values, count = unit_tokens(features), values.flatten(0, 1), len(features)
        chunks = torch.arange(len(keys), device=keys.device).split(max(1, CHUNK // len(keys)))
        mixed = torch.cat([self.weights(keys, rows, count).to(values.dtype) @ values for rows in chunks])
        tokens = trunk.joint(trunk.blocks[-1].output(mixed.unflatten(0, (count, -1))))
        return tokens.transpose(1, 2).unflatten(2, features.shape[2:])

    def weights(self, keys: Tensor, rows: Tensor, windows: int) -> Tensor:
        """P (R, N) of these rows: how tokens `rows` (R,) look at all of them, with unit keys (N, C)."""
        similar, count = proxy_similarity(keys, rows, self.rho, self.rounds)
        u = 1.2 if self.beta is None else 1 + self.beta * math.log(1 + windows)
        factor = 3.0 if self.gamma is None else 1 + self.gamma / count[:, None]
        scores = (similar - u * similar.mean(1, keepdim=True).clamp(min=0)).mul_(factor)
        least = scores.amax(1, keepdim=True).clamp(max=0)
        return scores.masked_fill_(scores < least, -torch.inf).softmax(1)


def proxy_similarity(keys: Tensor, rows: Tensor, rho: float, rounds: int) -> tuple[Tensor, Tensor]:
    """S (R, N) between the proxies of tokens `rows` (R,) and unit keys (N, C), and n (R,) of the last M."""
    similar, own = keys[rows] @ keys.T, (torch.arange(len(rows), device=rows.device), rows)
    for number in range(max(rounds, 1)):
        near = (similar > rho).to(keys)
        near[own] = near[own].maximum((near.sum(1) == 0).to(keys))
        count = near.sum(1)
        if number < rounds:
            proxies = F.normalize(near @ keys / (count[:, None] + 1e-6), dim=1)
            similar = proxies @ keys.T
    return similar, count
