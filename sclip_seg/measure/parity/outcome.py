"""What comes of a case: how far ours is from the reference, and how far it may be."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLOSE, PROBES = 2e-5, 5e-5  # fp32, CPU: of features and maps, and of sums over a feature; see the folder's README.md
ON_A_GPU = 10  # times: sums in another order, and fused attention that multiplies in three TF32 parts
Part = tuple[str, float, float]
"""Of a case: what of it, the difference and its tolerance."""


@dataclass(frozen=True)
class Outcome:
    """The largest difference of a case and what it may be; or the reason why there is none."""

    kind: str
    name: str
    gap: float
    tolerance: float
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether it is within; nan is not."""
        return self.gap <= self.tolerance

    @property
    def told(self) -> str:
        """The difference and its tolerance, or the reason."""
        return self.reason or f"{self.gap:9.2e}  (at most {self.tolerance:.0e})"

    def __str__(self) -> str:
        return f"{self.name:<48} {self.told}"


@dataclass(frozen=True)
class Unknown:
    """A file that no reader knows, or a key of one that some reader does; and why."""

    file: str
    key: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"unknown: {self.file}.npz{self.key and ' '}{self.key}" + (f" ({self.reason})" if self.reason else "")


def gap(ours: Tensor | np.ndarray, theirs: np.ndarray, where: np.ndarray | bool = True) -> float:
    """Largest difference, of the entries `where`. Raises ValueError for other shapes."""
    ours = _alike(ours, theirs)
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0, where=where))


def relative(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest difference, in parts of theirs."""
    return gap(ours.double().cpu() / torch.from_numpy(theirs), np.ones(theirs.shape))


def differing(ours: Tensor | np.ndarray, theirs: np.ndarray, where: np.ndarray | bool = True) -> float:
    """How many entries differ, of those `where`. Raises ValueError for other shapes."""
    return float(((_alike(ours, theirs) != theirs) & where).sum())


def _alike(ours: Tensor | np.ndarray, theirs: np.ndarray) -> np.ndarray:
    ours = ours.cpu().numpy() if isinstance(ours, Tensor) else ours
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: ours {ours.shape}, theirs {theirs.shape}")
    return ours


def thinned(ours: Tensor, theirs: np.ndarray, axes: tuple[int, ...], usual: int) -> Tensor:
    """Every n-th entry of ours along `axes`, as the reference keeps them: n the usual one, or what the shapes say."""
    sides = [(ours.shape[axis], theirs.shape[axis]) for axis in axes] if ours.ndim == theirs.ndim else []
    step = step_of(sides, usual)
    for axis in axes:
        ours = ours[(slice(None),) * (axis % ours.ndim) + (slice(None, None, step),)]
    return ours


def step_of(sides: list[tuple[int, int]], usual: int) -> int:
    """The n of which every n-th entry is kept, for sides (all, kept): the usual one if it fits, else the roundest.

    Long steps leave a choice, and of those that fit the one with most factors of two was meant. The usual one where
    none fits.
    """

    def fits(step: int) -> bool:
        return all(math.ceil(side / step) == kept for side, kept in sides)

    if fits(usual):
        return usual
    found = [step for step in range(1, max(side for side, _ in sides) + 1) if fits(step)]
    return max(found, key=lambda step: (step & -step, -step), default=usual)


def factor(device: torch.device) -> float:
    """What tolerances are multiplied by."""
    return 1 if device.type == "cpu" else ON_A_GPU
