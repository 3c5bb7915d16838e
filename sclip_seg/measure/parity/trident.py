"""Trident: windows spliced, and mixed by a stand-in for SAM's last block, with the settings that a key names."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from string import ascii_lowercase

import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import CONFIGS, load_config
from ...methods.proxyclip import values_on
from ...methods.trident import masked_affinity
from ...picture.window import windows
from ...towers.guide import LastAttention
from ...towers.trace import Trace
from .datasets import dataset_words
from .names import UnknownName, Words, merged, nothing, options
from .outcome import CLOSE, Part, factor, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .standins import CHANNELS, GivenGuide
from .visual import compared, of_tail

INPUT, CROP, STRIDE, GRID = "wide2", 336, 224, 21  # the picture, its windows, and the guide's patches a side
# The windows' guides are called trident{TAG}{i}{j}; the folder does not say the tag, its figures do.
TAGS = ("f", "", *ascii_lowercase)
GIVEN = dict(type=GivenGuide.__name__)
OWN = of_tail(type="Trident", guide=GIVEN, affinity=GIVEN)
Canvas = tuple[Tensor, Trace]


def published(dataset: str) -> dict:
    """κ and what is done about negative thresholds, of a dataset."""
    tuned = load_config(CONFIGS / "trident.py", dataset).model.backbone.tail
    return of_tail(cos_fac=tuned["cos_fac"], mend_negative=tuned.get("mend_negative", False))


def two_sided() -> dict:
    """A quarter of SAM's stand-in points the other way, so that there are negative thresholds."""
    return dict(two_sided=True)


WORDS: Words = {
    "default": nothing,
    "like": nothing,
    "neg": two_sided,
    "cos_fac": lambda factor: of_tail(cos_fac=factor),
    **dataset_words(published),
    "ade": lambda: merged(published("ade20k"), two_sided()),
}


@reads("visual_trident")
def trident(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each setting; all share the canvas."""
    groups = file.grouped(("probe", "affinity_rows"))
    canvas = cache(lambda: fitting_canvas(reference, groups))
    for group in groups:
        yield group.check("guided", f"trident {group.head}", group.keys, partial(setting, reference, group, canvas))


def setting(reference: Reference, group: Group, canvas: Callable[[], Canvas]) -> Iterator[Part]:
    """The features, and every 37th row of the affinity."""
    backbone, last = settled(reference, group)
    tail = backbone.tail
    yield from compared(features(reference, group, canvas()), group)
    if "affinity_rows" in group:
        theirs = group["affinity_rows"]
        rows = masked_affinity(last, tail.cos_fac, tail.mend_negative)
        yield "affinity", gap(thinned(rows, theirs, (0,), 37), theirs), CLOSE


def settled(reference: Reference, group: Group) -> tuple:
    """The tower and SAM's stand-in that a key's name means."""
    settings = merged(OWN, options(group.head, WORDS))
    attention, values = reference.recipe.tiny_sam(settings.pop("two_sided", False))
    last = LastAttention(values.shape[2:4], values[0].flatten(1, 2), attention[0].__getitem__)
    return reference.backbone(**settings), last


def features(reference: Reference, group: Group, canvas: Canvas) -> Tensor:
    """(T, D) of SAM's tokens."""
    backbone, last = settled(reference, group)
    cells, trace = canvas
    return trace.joint(backbone.tail.aggregate(cells, last)[None])[0]


def fitting_canvas(reference: Reference, groups: list[Group]) -> Canvas:
    """The canvas of those guides that the first known setting was made with, or else of the nearest."""
    known = next((group for group in groups if "" in group and _is_known(reference, group)), None)
    if known is None:
        return canvas_of(reference, TAGS[0])
    found: list[tuple[float, Canvas]] = []
    for tag in TAGS:
        canvas = canvas_of(reference, tag)
        found.append((distance(features(reference, known, canvas), known), canvas))
        if found[-1][0] <= CLOSE * factor(reference.device):
            break
    return min(found, key=lambda pair: pair[0])[1]


def distance(features: Tensor, group: Group) -> float:
    """Of features (T, D), made unit, from a group's."""
    unit = F.normalize(features, dim=1)
    return gap(thinned(unit, group[""], (0,), 3), group[""])


def _is_known(reference: Reference, group: Group) -> bool:
    try:
        return settled(reference, group) is not None
    except UnknownName:
        return False


def canvas_of(reference: Reference, tag: str) -> Canvas:
    """The windows' features, mixed within each by its guide and spliced; and the trace of the windows."""
    backbone, image = reference.backbone(**OWN), reference.input(INPUT)
    plan = windows(tuple(image.shape[2:]), CROP, STRIDE, backbone.patch)
    grid = (range(len(axis.starts)) for axis in (plan.rows, plan.columns))
    names = (f"trident{tag}{i}{j}" for i, j in product(*grid))
    guides = torch.cat([reference.recipe.tiny_guide(name, CHANNELS, GRID, GRID) for name in names])
    trace = backbone.trace(torch.cat(list(plan.cut([image[0]], batch=len(plan)))))
    return backbone.tail.splice(trace, guides, values_on(trace, guides.shape[2:]), plan), trace
