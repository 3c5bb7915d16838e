"""Features of SC-CLIP's kin by their float64 formulas, from the trunk's start as the trunk computes it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from torch import Tensor

from sclip_seg.towers.encoder import DenseCLIP


def windows(window: Callable, settings: object, dense: DenseCLIP, image: Tensor, **changes) -> list:
    """What the formula `window` gives for each window, by `settings` but for some changes."""
    trace = dense.trace(image, blocks=(-5,))
    starts, settings = trace.states[-1].double().numpy(), replace(settings, **changes)
    return [window(start, tower_weights(dense.clip.visual), trace.grid, settings) for start in starts]


def reference(window: Callable, settings: object, dense: DenseCLIP, image: Tensor, **changes) -> Tensor:
    """Features by the formula."""
    found = [one.features for one in windows(window, settings, dense, image, **changes)]
    return torch.from_numpy(np.stack(found)).transpose(1, 2).unflatten(2, dense.trace(image).grid)


def far(features: Tensor, other: Tensor) -> float:
    """The largest difference between unit features."""
    return float((F.normalize(features.double(), dim=1) - F.normalize(other.double(), dim=1)).abs().max())
