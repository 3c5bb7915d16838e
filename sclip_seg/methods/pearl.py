"""PEARL (CVPR 2026, arXiv 2603.21528): keys turned onto the queries, and scores smoothed along the picture.

Aligned keys in the last block, per head, over all T tokens; the weights are those of the patches' ‖q_t‖, scaled to sum
1, and the class token's is 0:

    q̃ = q - Σ w_t q_t;   k̃ = k - Σ w_t k_t;   M = k̃ᵀ q̃;   R = M (MᵀM)^-½, by five Newton-Schulz steps
    A = softmax((q (k R)ᵀ + α k̃ k̃ᵀ) / √d);   F = LN_post(W_o A v + b_o) proj        (no residual, no FFN)

Five steps do not converge, and the method is what five give: R keeps the few directions that queries and keys share
and all but drops the others. The exact factor U Vᵀ of M = U Σ Vᵀ is another method (`steps=None`).

Propagation, the "text-aware Laplacian", of the cosines of all queries: `LaplacianPropagation`, for any method
(`model.refine`). Cosines L and the network's input g, in grey, are averaged over cells of f_y × f_x pixels of the
labels' size, some 80 cells a side. With p = softmax L over the queries, T the unit texts and s the diagonal of
S = softmax(2 T Tᵀ) + 10·1, its rows scaled to sum 1, the 4-neighbours' graph Laplacian Λ_w has

    w = min(1, e^(-5 δ / mean δ) (1 + min(1, Σ_c s_c p_c p'_c))),   δ = |g - g'|, the mean across or down
    D = max(max_c p_c, 0.05)² (1 + min(1, Σ_c s_c p_c²));   D X + Λ_w X = D L

and X is what 25 steps of conjugate gradients from L give, one step size for all queries, which is part of the method
too (solved exactly, up to 7 % of the labels differ); enlarged bilinearly to the labels' size, over the rows and columns
too that no cell took. The text hardly acts: as released only the diagonal of S is used, .92 to .98 for every class, so
that no class is compared with another, and p, of cosines as they are, is near 1/Q: with 24 queries and more, D is at
its floor of 0.0025 everywhere. `text=False` moves some .05 % of the labels. With a few words of a user's own D varies.

Official code: github.com/PGSmall/PEARL (`pearl/attn.py`, `pearl/prop.py`), followed in all of this. There a grid that
is one cell wide gives no number; here it has no edges.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..picture.picture import Picture
from ..picture.refine.step import ScoreStep
from ..picture.scores import DenseMaps, StitchedMaps
from ..picture.solver import conjugate_gradients
from ..registry import ATTENTION, STEPS
from ..settings import Count, NonNegative
from ..towers.attention import Attention, softmax
from ..towers.trace import QKV

SMALL = 1e-6  # of every quotient, and of the matrix that the iteration starts with
GREY = (0.299, 0.587, 0.114)
LEAST, STEEPNESS = 0.05, 5.0  # of a cell's confidence; of edges in gradients
TEMPERATURE, OWN = 2.0, 10.0  # of the texts' similarity, and what each adds to its own


@ATTENTION.register_module()
def pearl(t: QKV, alpha: NonNegative = 0.08, steps: Count | None = 5) -> Attention:
    """softmax((q (k R)ᵀ + α k̃ k̃ᵀ)/√d). `steps` of R's iteration; None is the exact orthogonal factor."""
    _, keys, moment = aligned(t)
    turned = t.k.float() @ rotation(moment, steps)
    query, key = torch.cat([t.q.float(), alpha * keys], dim=-1), torch.cat([turned, keys], dim=-1)
    return softmax(query.to(t.q.dtype), key.to(t.q.dtype), t.scale)


def aligned(t: QKV) -> tuple[Tensor, Tensor, Tensor]:
    """q̃, k̃ (N, heads, T, d) and M (N, heads, d, d), fp32."""
    queries, keys = t.q.float(), t.k.float()
    weight = F.pad(queries[:, :, t.prefix :].norm(dim=-1), (t.prefix, 0))[..., None]
    weight = weight / (weight.sum(-2, keepdim=True) + SMALL)
    queries, keys = (rows - (weight * rows).sum(-2, keepdim=True) for rows in (queries, keys))
    return queries, keys, keys.mT @ queries


def rotation(moment: Tensor, steps: int | None) -> Tensor:
    """R of M (..., d, d), fp32: M times so many coupled Newton-Schulz steps towards (MᵀM)^-½."""
    if steps is None:
        left, _, right = torch.linalg.svd(moment)
        return left @ right
    square, one = moment.mT @ moment, torch.eye(moment.shape[-1], device=moment.device)
    size = square.square().sum((-2, -1), keepdim=True).sqrt().clamp(min=torch.finfo(square.dtype).tiny)
    root, inverse = square / size + SMALL * one, one
    for _ in range(steps):
        turn = (3 * one - inverse @ root) / 2
        root, inverse = root @ turn, turn @ inverse
    return moment @ inverse / size.sqrt()


@STEPS.register_module()
class LaplacianPropagation(ScoreStep):
    """Smooths the score maps on a coarse grid, but not across the picture's edges.

    Args:
        grid: cells a side that the factors f = max(1, round(side / grid)) aim at, with halves rounded to even.
        steps: of the solver.
        text: whether texts that agree have a part in D and w.
    """

    def __init__(self, grid: Count = 80, steps: Count = 25, text: bool = True) -> None:
        super().__init__()
        self.grid, self.steps, self.text = grid, steps, text

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps:
        size = tuple(maps.shape[1:])
        factors = self.factors(size)
        own = own_similarity(picture.text.features) if self.text else None
        system = Diffusion.of(maps.cells(factors), grey_cells(picture.image, size, factors), own)
        return picture.scored(system.solve(self.steps)[None], whole=True).maps(size)

    def factors(self, size: tuple[int, int]) -> tuple[int, int]:
        """f_y and f_x of maps of `size` (H, W)."""
        return tuple(max(1, round(side / self.grid)) for side in size)


def grey_cells(image: Tensor, size: tuple[int, int], factors: tuple[int, int]) -> Tensor:
    """The picture (3, h, w) in grey, enlarged bilinearly to `size` and averaged over cells of `factors` pixels."""
    grey = sum(weight * channel for weight, channel in zip(GREY, image.float(), strict=True))
    return F.avg_pool2d(F.interpolate(grey[None, None], size, mode="bilinear", align_corners=False), factors)[0, 0]


def text_similarity(features: Tensor) -> Tensor:
    """S (Q, Q) of the queries' features (Q, D)."""
    unit = F.normalize(features.float(), dim=1)
    similar = (TEMPERATURE * unit @ unit.T).softmax(1) + OWN * torch.eye(len(unit), device=unit.device)
    return similar / (similar.sum(1, keepdim=True) + SMALL)


def own_similarity(features: Tensor) -> Tensor:
    """s (Q,), all of S that is ever used."""
    return text_similarity(features).diagonal()


class Diffusion:
    """The system (D + Λ_w) X = D L on a grid: `start` L (Q, h, w), `data` D (h, w), `across` and `down` of w.

    across (h, w - 1) and down (h - 1, w) are the weights between a cell and the next.
    """

    def __init__(self, start: Tensor, data: Tensor, across: Tensor, down: Tensor) -> None:
        self.start, self.data, self.across, self.down = start, data, across, down

    @classmethod
    def of(cls, start: Tensor, grey: Tensor, own: Tensor | None) -> "Diffusion":
        """From cosines (Q, h, w) and a picture (h, w); `own` s (Q,), or None for texts without a part."""
        p = start.softmax(0)

        def agreement(left: Tensor, right: Tensor) -> Tensor | float:
            return 0.0 if own is None else torch.einsum("qhw,qhw,q->hw", left, right, own).clamp(0, 1)

        data = p.amax(0).clamp(min=LEAST).square() * (1 + agreement(p, p))
        return cls(
            start,
            data,
            edges(grey[:, 1:] - grey[:, :-1], agreement(p[:, :, 1:], p[:, :, :-1])),
            edges(grey[1:] - grey[:-1], agreement(p[:, 1:], p[:, :-1])),
        )

    def product(self, maps: Tensor) -> Tensor:
        """(D + Λ_w) times maps (Q, h, w)."""
        return self.data * maps + self.laplacian(maps)

    def laplacian(self, maps: Tensor) -> Tensor:
        """Λ_w times maps (Q, h, w)."""
        across, down = self.across * maps.diff(dim=2), self.down * maps.diff(dim=1)
        return -F.pad(across, (0, 1)) + F.pad(across, (1, 0)) - F.pad(down, (0, 0, 0, 1)) + F.pad(down, (0, 0, 1, 0))

    def solve(self, steps: int) -> Tensor:
        """X (Q, h, w) by so many steps from L, all queries being one column: X - L solves it for -Λ_w L."""
        shape = self.start.shape
        right = -self.laplacian(self.start).reshape(-1, 1)
        change = conjugate_gradients(lambda x: self.product(x.view(shape)).reshape(-1, 1), right, steps)
        return self.start + change.view(shape)


def edges(step: Tensor, agreement: Tensor | float) -> Tensor:
    """w of all neighbours in one direction, by the differences of grey (h, w); none of none."""
    far = step.abs()
    mean = far.mean() if far.numel() else 0.0
    return (torch.exp(-STEEPNESS * far / (mean + SMALL)) * (1 + agreement)).clamp(max=1)
