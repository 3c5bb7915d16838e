"""Tensors that depend on sizes alone, kept on the device that they are used on.

A copy from the host is waited for, and with it everything that was asked of the device before: the next kernels are
not even queued meanwhile. What does not change from picture to picture is therefore copied once.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

LARGEST = 256 * 2**20  # bytes that are kept in all

_kept: OrderedDict[tuple, Tensor] = OrderedDict()


def on(device: torch.device, function: Callable[..., Tensor], *sizes: Hashable) -> Tensor:
    """`function(*sizes)`, a tensor on the CPU that depends on nothing else, on `device`; not to be written to."""
    if device.type == "cpu":
        return function(*sizes)
    key = (device, function, sizes)
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    placed = function(*sizes).to(device)
    if isinstance(placed, Tensor):
        _kept[key] = placed
        while sum(tensor.nbytes for tensor in _kept.values()) > LARGEST:
            _kept.popitem(last=False)
    return placed
