"""LPOSS and LPOSS+ (Stojnić et al., CVPR 2025, arXiv 2503.19777): scores spread over patches, then over pixels.

Both give the first ten steps of conjugate gradients for (I - α Wn) Z = Y, query by query and from 0, with Wn the graph
W after division by the square roots of both degrees (0 counts as 1), and α = 0.95. Ten steps are part of the method.

    patches    f̂ a guide's unit values, the k nearest of each node among the patches of all windows, itself counted:
               w_ij = max(f̂_i·f̂_j, 0)^γ exp(-σ |centre_i - centre_j|),   W = w + wᵀ,   W_ii = 0
    pixels     of the network's input, within a square around each: w_ij = exp(-|L_i - L_j| / τ),
               L = CIELAB / (100, 128, 128)

k = 400, γ = 3, σ = 0.01 a pixel, τ = 0.01, 13 x 13 pixels. Patches in overlaps stay nodes of their own. Official code:
github.com/vladan-stojnic/LPOSS (`segmentation/evaluation/lposs_eval.py`), whose solver is of fp64; here fp32, the same
to 1e-5. Where the guide's grid is not that of the scores, these are resampled to it; the released code resamples
CLIP's features. Both go with any method: `model.stages`, `model.refine`.
"""

import warnings
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from ..picture.picture import Picture, Scores
from ..picture.refine.step import ScoreStep
from ..picture.scores import DenseMaps, StitchedMaps
from ..picture.solver import conjugate_gradients
from ..picture.stage import Stage
from ..picture.window import Windows
from ..registry import GUIDES, STAGES, STEPS
from ..settings import Count, NonNegative, Positive, Range
from .proxyclip import unit_tokens

CHUNK = 2**23  # similarities, weights or scores that are held at a time
SMALLEST = torch.finfo(torch.float32).tiny  # numbers below are multiplied ten times as slowly, and weigh nothing
Coupling = Annotated[float, Range(0, 0.999)]
Reach = Annotated[int, Range(1, 64)]


@STAGES.register_module()
class LPOSS(Stage):
    """Spreads the scores over the graph of all patches of a picture.

    Args:
        guide: config of a `Guide` that shows its values; None is DINO ViT-B/16.
        neighbours: k, or as many as there are nodes.
        power: γ.
        sigma: σ, in 1/pixel of the network's input.
        alpha: α.
        steps: of the solver.
    """

    def __init__(
        self,
        guide: dict | None = None,
        neighbours: Count = 400,
        power: Positive = 3.0,
        sigma: NonNegative = 0.01,
        alpha: Coupling = 0.95,
        steps: Count = 10,
    ) -> None:
        super().__init__()
        self.guide = GUIDES.build(guide or dict(type="TimmGuide", arch="vit_base_patch16_224.dino"))
        self.neighbours, self.power, self.sigma = neighbours, power, sigma
        self.alpha, self.steps = alpha, steps

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        values = picture.values(self.guide)
        grid = tuple(values.shape[2:])
        tiles = scores.on(picture.plan, grid)
        graph = self.graph(values, picture.plan)
        columns = graph.spread(tiles.permute(0, 2, 3, 1).flatten(0, 2), self.alpha, self.steps)
        return picture.scored(columns.view(len(tiles), *grid, -1).permute(0, 3, 1, 2))

    def graph(self, values: Tensor, plan: Windows) -> "Graph":
        """Of the patches of all windows, by the guide's values (B, C, h, w) in them."""
        nodes = unit_tokens(values)
        places = centres(plan, tuple(values.shape[2:]), self.guide.unit).to(nodes)
        return patch_graph(nodes, places, self.neighbours, self.power, self.sigma)


@STEPS.register_module()
class LPOSSPlus(ScoreStep):
    """Spreads the score maps over the graph of the pixels of the network's input, and enlarges them from there.

    Args:
        reach: pixels to each side, 6 for a square of 13 x 13.
        tau: τ, of colours in [0, 1].
        alpha: α.
        steps: of the solver.
    """

    def __init__(self, reach: Reach = 6, tau: Positive = 0.01, alpha: Coupling = 0.95, steps: Count = 10) -> None:
        super().__init__()
        self.reach, self.tau, self.alpha, self.steps = reach, tau, alpha, steps

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps:
        size = tuple(picture.image.shape[1:])
        graph = pixel_graph(lab(picture.trunk.rgb(picture.image)), self.reach, self.tau)
        parts = maps.at(size).dense().flatten(1).split(max(1, CHUNK // (size[0] * size[1])))
        spread = [graph.spread(part.T.contiguous(), self.alpha, self.steps).T for part in parts]
        return picture.scored(torch.cat(spread).unflatten(1, size)[None], whole=True).maps(tuple(maps.shape[1:]))


def centres(plan: Windows, grid: tuple[int, int], unit: int) -> Tensor:
    """Middles (N, 2: y, x) of all windows' patches of `unit` pixels, in pixels of the picture, window by window."""
    sides = [
        torch.tensor(axis.starts)[:, None] - axis.before + unit // 2 + unit * torch.arange(count)
        for axis, count in zip((plan.rows, plan.columns), grid, strict=True)
    ]
    y = sides[0][:, None, :, None].expand(-1, len(sides[1]), -1, grid[1])
    x = sides[1][None, :, None, :].expand(len(sides[0]), -1, grid[0], -1)
    return torch.stack([y, x], dim=-1).flatten(0, 3)


class Graph:
    """Wn of a symmetric W (N, N), which is the sum of sparse `parts`."""

    def __init__(self, *parts: Tensor) -> None:
        self.parts = parts
        degree = self._times(torch.ones_like(parts[0].values()[:1]).expand(len(parts[0]), 1))
        self.scale = torch.where(degree == 0, 1.0, degree).rsqrt()

    def spread(self, columns: Tensor, alpha: float, steps: int) -> Tensor:
        """(I - α Wn)⁻¹ times columns (N, Q), by so many steps of the solver."""
        return conjugate_gradients(lambda x: x - alpha * self.mix(x), columns, steps)

    def mix(self, columns: Tensor) -> Tensor:
        """Wn times columns (N, Q)."""
        return self._times(columns * self.scale) * self.scale

    def _times(self, columns: Tensor) -> Tensor:
        return sum(part @ columns for part in self.parts)


def patch_graph(nodes: Tensor, places: Tensor, neighbours: int, power: float, sigma: float) -> Graph:
    """Of unit features (N, C) at `places` (N, 2): w and its transpose."""
    count, rows = min(neighbours, len(nodes)), torch.arange(len(nodes), device=nodes.device)
    found = []
    for own in rows.split(max(1, CHUNK // len(nodes))):
        similar, nearest = (nodes[own] @ nodes.T).topk(count, dim=1)
        far = (places[own][:, None] - places[nearest]).square().sum(-1).sqrt()
        weight = similar.clamp(min=0) ** power * torch.exp(-sigma * far)
        found.append((nearest.flatten(), weight.masked_fill(nearest == own[:, None], 0).flatten()))
    column, weight = (torch.cat(parts) for parts in zip(*found, strict=True))
    row, order = rows.repeat_interleave(count), column.argsort(stable=True)
    ends = (row.bincount(minlength=len(nodes)), column.bincount(minlength=len(nodes)))
    return Graph(compressed(ends[0], column, weight), compressed(ends[1], row[order], weight[order]))


def pixel_graph(colours: Tensor, reach: int, tau: float) -> Graph:
    """Of the pixels of a picture (3, H, W). One unlike all of its neighbours has degree 0 in fp32, and stays alone."""
    height, width = colours.shape[1:]
    side = 2 * reach + 1
    around = F.pad(colours, (reach,) * 4, value=torch.inf).unfold(1, side, 1)  # (3, H, width + 2 reach, side)
    weights = []
    for band in torch.arange(height, device=colours.device).split(max(1, CHUNK // (width * side * side))):
        near = around[:, band].unfold(2, side, 1)
        far = (near - colours[:, band, :, None, None]).square().sum(0).sqrt()
        weights.append(F.threshold(torch.exp(-far / tau), SMALLEST, 0.0).flatten(0, 1).flatten(1))
    weight = torch.cat(weights)
    weight[:, weight.shape[1] // 2] = 0
    step = torch.arange(-reach, reach + 1, device=colours.device)
    shift = (step[:, None] * width + step).flatten()  # what leaves the picture has no weight, wherever it then points
    column = (torch.arange(height * width, device=colours.device)[:, None] + shift).clamp_(0, height * width - 1)
    count = torch.full((height * width,), side * side, device=colours.device)
    return Graph(compressed(count, column.flatten(), weight.flatten()))


def compressed(count: Tensor, column: Tensor, weight: Tensor) -> Tensor:
    """A sparse square matrix in compressed rows: entries given row by row, `count` of each row."""
    kind = torch.int32 if len(column) < 2**31 else torch.int64
    ends = F.pad(count.cumsum(0), (1, 0)).to(kind)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        size = (len(count), len(count))
        return torch.sparse_csr_tensor(ends, column.to(kind), weight, size, check_invariants=False)


def lab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1], (3, H, W), as CIELAB under D65, divided by (100, 128, 128)."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    white = rgb.new_tensor([0.95047, 1.0, 1.08883]).view(3, 1, 1)
    xyz = torch.einsum("ij,jhw->ihw", rgb.new_tensor(matrix), linear) / white
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 4 / 29)
    return torch.stack([(116 * y - 16) / 100, 500 * (x - y) / 128, 200 * (y - z) / 128])
