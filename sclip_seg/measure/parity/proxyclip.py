"""ProxyCLIP: `visual_proxyclip.npz` has features of `[OPTIONS.]INPUT+GUIDE`, on the grid of a stand-in for DINO."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from .names import Words, merged, options
from .outcome import Part
from .reading import Check, File, Group, reads
from .reference import Reference
from .standins import CHANNELS, GivenGuide, grid_of
from .visual import TOWER, compared, of_tail

WORDS: Words = TOWER | {
    "beta": lambda beta: of_tail(beta=beta),
    "gamma": lambda gamma: of_tail(gamma=gamma),
}
OWN = of_tail(type="ProxyCLIP", guide=dict(type=GivenGuide.__name__))


@reads("visual_proxyclip")
def proxyclip(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input and guide."""
    for group in file.grouped(("probe",)):
        yield group.check("guided", f"proxyclip {group.head}", ("", "probe"), partial(features, reference, group))


def features(reference: Reference, group: Group) -> Iterator[Part]:
    """Of the patches of the guide's grid, which the probes count."""
    prefix, _, inputs = group.head.rpartition(".")
    backbone = reference.backbone(**merged(OWN, options(prefix, WORDS)))
    image = guided_input(reference, inputs, backbone.tail.guide, group)
    yield from compared(backbone(image)[0].flatten(1).T, group)


def guided_input(reference: Reference, names: str, guide: GivenGuide, group: Group) -> Tensor:
    """The input of `INPUT+GUIDE`; the guide gets its features, on the grid that the probes count."""
    name, plus, of_guide = names.partition("+")
    if not plus:
        raise ValueError(f"{names} names no guide (INPUT+GUIDE)")
    image = reference.input(name)
    grid = grid_of(len(group["probe"]), tuple(image.shape[2:]))
    guide.features = reference.recipe.tiny_guide(of_guide, CHANNELS, *grid)
    return image
