"""Rounds of weighted sums over neighbours, borders replicated, within a CPU's caches: m(u) <- Σ_o w_o(u) m(u + o).

With d the greatest common divisor of the offsets' heights, a pixel sees rows equal to its own modulo d and, beyond the
borders, the first and the last row. So the classes of those two rows go first, together, and note both before every
round; then each other class goes through all rounds alone: at d = 8 an eighth of the picture at a time.

A class is a table (pixels, queries), and a round of it one `embedding_bag`: an index and a weight for many queries.
Terms are added in the order of the offsets, each with one rounding, as `Tensor.addcmul_` does.
"""

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor

TABLE_BYTES = 32 * 2**20  # larger blocks are fetched from the system anew each time, page by page
QUERIES = 16, 64  # at a time: fewer are slow and one alone rounds otherwise, more gain nothing

Offset = tuple[int, int]
WeightsOf = Callable[[slice], Tensor]


def rounds(maps: Tensor, steps: int, offsets: list[Offset], weights_of: WeightsOf) -> Tensor:
    """Maps (Q, H, W) after `steps` rounds; `weights_of` gives the weights (offsets, h, W) of some rows."""
    queries, height, width = maps.shape
    apart = gcd(*(down for down, _ in offsets)) or height
    borders = maps.new_empty(steps, 2 * width, queries)
    result = torch.empty_like(maps)
    for rows in row_classes(height, apart):
        table = _Table(rows, maps.shape[1:], offsets, weights_of)
        fewest, most = QUERIES
        together = min(most, max(fewest, TABLE_BYTES // (maps.element_size() * table.pixels)))
        chunks = -(-queries // together)
        parts = maps.tensor_split(chunks), borders.tensor_split(chunks, 2), result.tensor_split(chunks)
        for before, border, after in zip(*parts, strict=True):
            refined = table.rounds(before, border).split([len(range(height)[some]) for some in rows], 1)
            for some, those in zip(rows, refined, strict=True):
                after[:, some] = those
    return result


def row_classes(height: int, apart: int) -> list[tuple[slice, ...]]:
    """The rows by their rest modulo `apart`: first the classes of the first and the last row, then each other."""
    ends = {0, (height - 1) % apart}
    others = [(rest,) for rest in range(min(apart, height)) if rest not in ends]
    return [tuple(slice(rest, None, apart) for rest in rests) for rests in [sorted(ends), *others]]


class _Table:
    """Pixels of some rows, then of the first and the last row, and where the neighbours of the former lie in it."""

    def __init__(
        self, rows: tuple[slice, ...], size: tuple[int, int], offsets: list[Offset], weights_of: WeightsOf
    ) -> None:
        height, self.width = size
        own = torch.cat([torch.arange(height)[some] for some in rows])
        self.rows = torch.cat([own, torch.tensor([0, height - 1])])
        self.pixels = len(self.rows) * self.width
        place = torch.full((height,), -1)
        place[self.rows] = torch.arange(len(self.rows))
        self.ends = None
        if 0 in own:
            self.ends = [int((own == end).nonzero()) * self.width for end in (0, height - 1)]
        down, across = torch.tensor(offsets).T
        starts = (place[(own[:, None] + down).clamp(0, height - 1)] * self.width).int()
        columns = (torch.arange(self.width)[:, None] + across).clamp(0, self.width - 1).int()
        self.neighbours = (starts[:, None] + columns).flatten()
        bags = torch.arange(self.pixels + 1, dtype=torch.int32).clamp_(max=len(own) * self.width)
        self.bags = bags * len(offsets)  # those of the last two rows are empty
        weights = torch.cat([weights_of(some) for some in rows], 1)
        self.weights = weights.flatten(1).T.flatten()

    def rounds(self, maps: Tensor, borders: Tensor) -> Tensor:
        """The own rows (q, rows, W) of maps (q, H, W) after every round that `borders` (rounds, 2 W, q) has rows for.

        These are the first and the last row before each round: noted where they are among the own rows, else read.
        """
        values = maps.index_select(1, self.rows).flatten(1).T.contiguous()
        for border in borders:
            if self.ends is not None:
                for end, note in zip(self.ends, border.split(self.width), strict=True):
                    note.copy_(values[end : end + self.width])
            values[-len(border) :] = border
            values = torch.embedding_bag(
                values, self.neighbours, self.bags, mode=0, per_sample_weights=self.weights, include_last_offset=True
            )[0]
        return values.T.contiguous().unflatten(1, (-1, self.width))[:, :-2]
