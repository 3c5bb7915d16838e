"""RADIO's adaptors: from the trunk's tokens into a teacher's space. Two kinds, told apart by their weights' names.

    v1    fc1, LN, ReLU, [linear, LN, ReLU] any number of times, fc2
    v2    fc1, then X + linear(GELU(LN X)) any number of times, then linear(GELU(LN ·))

Module names are those of the weights. LayerNorm's eps is torch's, 1e-5; GELU is exact.
"""

import re

from torch import Tensor, nn

from ..errors import InputError


class Plain(nn.Module):
    """v1."""

    def __init__(self, width: int, hidden: int, out: int, inner: int = 0) -> None:
        super().__init__()
        self.fc1, self.norm = nn.Linear(width, hidden), nn.LayerNorm(hidden)
        layers = [(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU()) for _ in range(inner)]
        self.inner = nn.Sequential(*(layer for three in layers for layer in three))
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., C) -> (..., D)."""
        return self.fc2(self.inner(self.norm(self.fc1(x)).relu()))


class Residual(nn.Module):
    """v2."""

    def __init__(self, width: int, hidden: int, out: int, inner: int = 1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.blocks = nn.ModuleList(_normed(hidden, hidden) for _ in range(inner))
        self.final = _normed(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., C) -> (..., D)."""
        x = self.fc1(x)
        for block in self.blocks:
            x = x + block(x)
        return self.final(x)


def _normed(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))


def adaptor_for(state: dict[str, Tensor], what: str) -> Plain | Residual:
    """An adaptor of the kind and size of `state`, not yet with its numbers. Raises InputError."""
    last = "final.2.weight" if "final.2.weight" in state else "fc2.weight"
    matrices = [state.get(name) for name in ("fc1.weight", last)]
    if any(".parametrizations." in name or name.startswith("parametrizations.") for name in state):
        raise InputError(f"{what} is stored by its spectral norms, which is not read; take the averaged weights")
    if any(matrix is None or matrix.ndim != 2 for matrix in matrices):
        raise InputError(f"{what} is no adaptor: it lacks fc1, or final and fc2")
    (hidden, width), (out, _) = (tuple(matrix.shape) for matrix in matrices)
    if last == "fc2.weight":
        return Plain(width, hidden, out, len(_numbers(state, r"inner\.(\d+)\.weight")) // 2)
    return Residual(width, hidden, out, len(_numbers(state, r"blocks\.(\d+)\.2\.weight")))


def _numbers(state: dict[str, Tensor], pattern: str) -> set[str]:
    return {match[1] for name in state if (match := re.fullmatch(pattern, name))}
