"""Conjugate gradients for many right-hand sides at once, each on its own."""

from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE = 1e-6


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    """Approximate solutions X (N, Q) of A X = `right`, from 0, by at most `steps` steps each, not preconditioned.

    `product` multiplies columns (N, Q) by A, symmetric and positive definite. Each column is done, and stays, once its
    residual is at most 1e-6 of its right-hand side; one of zeros is done at once.
    """
    solution, residual, direction = torch.zeros_like(right), right.clone(), right.clone()
    length = (right * right).sum(0)
    goal, going = TOLERANCE**2 * length, length > 0
    for _ in range(steps):
        along = product(direction)
        stride = torch.where(going, length / (direction * along).sum(0), 0)
        solution.addcmul_(direction, stride)
        residual.addcmul_(along, -stride)
        before, length = length, (residual * residual).sum(0)
        going = going & (length > goal)
        direction = residual + torch.where(going, length / before, 0) * direction
    return solution
