"""What methods that read the same pictures share while they are at work on them.

A frozen network gives the same for the same pixels, whoever asks. Where several methods go through a data set together
(`evaluate.group`), what was computed for the pictures at hand is kept until the next ones: their network input, their
windows, the trunk's trace, the guides' features; and, where two of them differ only in what comes later, features and
scores as well. Nothing is kept by a rule about configs: what is asked for again of the very same things is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from torch import Tensor, nn

T = TypeVar("T")
PLAIN = (str, bool, int, float, type(None))
LARGEST = 2 * 2**30  # bytes that are kept at a time; what is beyond is computed again for each who asks


class Together:
    """Results by what they were computed of, for the pictures at hand."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest, self.bytes = largest, 0
        self._known: dict[Hashable, tuple[object, tuple]] = {}

    def once(self, what: str, things: tuple, compute: Callable[[], T], shared: Callable[[], bool]) -> T:
        """As the function below."""
        key = what, _key(things)
        if key in self._known:
            return self._known[key][0]
        result = compute()
        size = _bytes(result)
        if shared() and self.bytes + size <= self.largest:
            self.bytes += size
            self._known[key] = result, things  # which must not end: their identity is the key
        return result

    def forget(self) -> None:
        """Begins anew, with other pictures."""
        self._known.clear()
        self.bytes = 0


_at_work: ContextVar[Together | None] = ContextVar("what methods share at the moment", default=None)


@contextmanager
def sharing(together: Together) -> Iterator[None]:
    """Within it, `once` keeps what it computes in `together`."""
    token = _at_work.set(together)
    try:
        yield
    finally:
        _at_work.reset(token)


def is_shared() -> bool:
    """Whether several methods are at work on the same pictures."""
    return _at_work.get() is not None


def once(what: str, *things: object, compute: Callable[[], T], shared: Callable[[], bool] = lambda: True) -> T:
    """What `compute` gives; computed once for the very same `things` while methods share, and every time otherwise.

    `things` is all that the result depends on. Numbers, strings and tuples of them are the same by equality, anything
    else, as tensors and modules, by identity, and nothing writes to it. `shared`: asked afterwards, whether others may
    have the result.
    """
    together = _at_work.get()
    return compute() if together is None else together.once(what, things, compute, shared)


def _key(thing: object) -> Hashable:
    if isinstance(thing, (tuple, list)):
        return tuple(map(_key, thing))
    return (type(thing), thing if isinstance(thing, PLAIN) else id(thing))


def _bytes(result: object) -> int:
    if isinstance(result, Tensor):
        return result.nbytes
    if isinstance(result, nn.Module):
        return 0
    if isinstance(result, (list, tuple)):
        return sum(map(_bytes, result))
    if isinstance(result, dict):
        return sum(map(_bytes, result.values()))
    return sum(map(_bytes, vars(result).values())) if hasattr(result, "__dict__") else 0
