"""Edits: what a method changes in the frozen trunk itself, while windows go through it.

The trunk is the same for all methods but those that say otherwise (`Tail.edit`). An edit is a value: two that are equal
make the same hidden states, and what went through one trunk is no other's.
"""

from torch import Tensor

from .block import Block, run_block


class Edit:
    """Takes the place of a block's own way. Subclasses are frozen dataclasses, so that they can be compared."""

    def __call__(self, block: Block, x: Tensor, grid: tuple[int, int], prefix: int, last: bool) -> Tensor:
        """Tokens (N, T, C) through a block; those after the first `prefix` lie on the `grid`. `last`: none follows."""
        return run_block(block, x, grid, prefix)
