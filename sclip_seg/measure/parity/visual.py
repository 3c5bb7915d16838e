"""`visual_METHOD[_OPTIONS].npz`: unit patch features of the recipe's inputs, and what lies inside a method.

Keys are `[OPTIONS.]INPUT` (every third patch), `[OPTIONS.]INPUT.probe` (all, on two fixed directions) and
`[OPTIONS.]INPUT.PART` for the parts that a method's file names; the options of the file's name and of a key are words
of the method (`names`), which set a tower's tail.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...towers.encoder import DenseCLIP
from ...towers.trace import Trace
from .names import Words, merged, options
from .outcome import CLOSE, PROBES, Part, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference

DIRECTIONS = 7  # seed of the two that all features are projected on
TOWER: Words = {"heads": lambda number: dict(heads=number)}  # of every method


def of_tail(**settings: object) -> dict:
    """What a word sets of a tower's tail."""
    return dict(tail=settings)


def last_block(attention: str, residual: bool = True, mlp: bool = True) -> dict:
    """A tail of the last block alone."""
    return dict(type="LastBlock", attention=dict(type=attention), residual=residual, mlp=mlp)


@dataclass(frozen=True)
class Seen:
    """What a tower with some settings makes of an input."""

    reference: Reference
    group: Group
    input: str
    make_settings: Callable[[], dict]

    @cached_property
    def settings(self) -> dict:
        """Of the tower. Raises UnknownName where an option is none."""
        return self.make_settings()

    @cached_property
    def backbone(self) -> DenseCLIP:
        """The tower."""
        return self.reference.backbone(**self.settings)

    @cached_property
    def image(self) -> Tensor:
        """(1, 3, H, W)"""
        return self.reference.input(self.input)

    @cached_property
    def trace(self) -> Trace:
        """Of the image."""
        return self.backbone.trace(self.image)

    def features(self) -> Tensor:
        """(P, D), of any length."""
        return self.backbone(self.image, self.reference.queries())[0].flatten(1).T

    def compared(self) -> Iterator[Part]:
        """The features with the group's own array and its probes."""
        yield from compared(self.features(), self.group)


def compared(features: Tensor, group: Group, name: str = "", risky: np.ndarray | None = None) -> Iterator[Part]:
    """Features (P, D) made unit, with `NAME` (every third) and `NAME.probe` of a group, as far as it has them.

    `risky`: patches to leave out, since rounding decides there.
    """
    yield from compared_rows(F.normalize(features, dim=1), group, name, risky)


def compared_rows(rows: Tensor, group: Group, name: str, risky: np.ndarray | None = None) -> Iterator[Part]:
    """The same of rows (P, D) as they are."""
    where = sure(len(rows), risky)[:, None]
    for part, told, ours, usual, tolerance in (
        (name, "", rows, 3, CLOSE),
        (f"{name}.probe".strip("."), "probes", probes(rows), 1, PROBES),
    ):
        if part in group:
            theirs = group[part]
            ours, kept = (thinned(all_of, theirs, (0,), usual) for all_of in (ours, where.expand(ours.shape)))
            yield told, gap(ours, theirs, kept.numpy()), tolerance


def sure(count: int, risky: np.ndarray | None) -> Tensor:
    """(count,) all but the `risky` ones."""
    found = torch.ones(count, dtype=torch.bool)
    if risky is not None:
        found[torch.from_numpy(risky.astype(np.int64))] = False
    return found


def probes(rows: Tensor) -> Tensor:
    """Rows (P, D) on the two directions, (P, 2), float64."""
    generator = torch.Generator().manual_seed(DIRECTIONS)
    directions = torch.randn((rows.shape[1], 2), generator=generator, dtype=torch.float64)
    return rows.double().cpu() @ directions


Inside = Callable[[Seen], Iterator[Part]]


def visual(
    method: str,
    tail: dict,
    words: Words | None = None,
    parts: Mapping[str, Inside] | None = None,
    whole: Mapping[str, Inside] | None = None,
    given: Mapping[str, Callable[[np.ndarray], dict]] | None = None,
    **settings: object,
) -> None:
    """Registers the reader of a method whose features a tail gives.

    `words`: its options; `parts`: what is compared beside the features, by the key's last name; `whole`: what is
    compared under a key without an input; `given`: what an array beside the features sets, by the key's last name;
    `settings`: of `DenseCLIP`.
    """
    words, parts, whole, given = TOWER | (words or {}), parts or {}, whole or {}, given or {}

    @reads(rf"visual_{method}(?:_(.+))?")
    def read(reference: Reference, file: File, rest: str | None) -> Iterator[Check]:
        own = merged(dict(tail=tail, **settings), options(rest or "", words))
        name = file.name.removeprefix("visual_")
        for key, inside in whole.items():
            if key in file:
                seen = Seen(reference, Group(file, "", {key: key}), "", lambda: own)
                yield Check("parts", name, [key], partial(inside, seen))
        for group in file.grouped(("probe", *parts, *given), aside=whole):
            image = group.head.rpartition(".")[2]
            seen = Seen(reference, group, image, cache(partial(settings_of, group, own, words, given)))
            title = f"{name} {group.head}"
            if "" in group or "probe" in group:
                yield group.check("features", title, ("", "probe", *given), seen.compared)
            for part, inside in parts.items():
                if part in group:
                    yield group.check("parts", title, (part,), partial(inside, seen))


def settings_of(group: Group, own: dict, words: Words, given: Mapping[str, Callable[[np.ndarray], dict]]) -> dict:
    """Of a tower: the method's `own`, and what the words of a head and the arrays of its group set."""
    found = merged(own, options(group.head.rpartition(".")[0], words))
    for part, make in given.items():
        if part in group:
            found = merged(found, make(group[part]))
    return found
