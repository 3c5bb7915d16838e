"""PEARL: features by its aligned keys, maps diffused over a picture as given, and the segmentor.

    visual_pearl   [OPTIONS.]INPUT[.PART]
    stage_pearl    CASE.PART: `.image` (whole numbers of 1/32) and `.logits` (times the first of `.options`) -> `.out`
    e2e_pearl_DATASET[_noprop]   by our config, with or without its refinement

A case's `.text` is in 1/16 and of any length. Of `.residual`, norms before and after, the first has the tolerance of
maps, and the second that of what was solved.
"""

from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial

import torch
from torch import Tensor

from ...methods.pearl import Diffusion, LaplacianPropagation, aligned, grey_cells, rotation, text_similarity
from ...picture.picture import Scores, Whole
from ...picture.scores import DenseMaps, StitchedMaps
from .datasets import dataset_named
from .names import Words
from .outcome import CLOSE, Part, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import Looked, Segmented, bank_checks, best, labels, largest_probability, photo_checks, segmentor
from .standins import in_32nds
from .visual import Seen, last_block, of_tail, visual

EXACT = 1e-4  # of rows of the attention by the exact factor or by ten steps, which amplify rounding
ROTATION, MOMENT = 1e-5, 1e-5  # of R; of M, in parts of its largest
DATA, EDGES, SIMILARITY = 1e-6, 5e-5, 1e-6  # of D, w and S
ORDER = ("factor", "grid", "text", "steps", "rows", "columns")  # what `.options` hold
PARTS = ("image", "logits", "options", "text", "S", "start", "data", "across", "down", "solution", "out", "residual")
NO_REFINEMENT = "_noprop"


def attention(**settings: float | None) -> dict:
    """What a word sets of the attention."""
    return of_tail(attention=settings)


WORDS: Words = {
    "kk": lambda alpha: attention(alpha=alpha),
    "nokk": lambda: attention(alpha=0),
    "iters": lambda steps: attention(steps=steps),
    "svd": lambda: attention(steps=None),
    "full": lambda: of_tail(residual=True, mlp=True),
}


def steps_of(seen: Seen) -> int | None:
    """Of the iteration, by the tower's settings."""
    return seen.settings["tail"]["attention"].get("steps", 5)


def rotations(seen: Seen) -> Iterator[Part]:
    """R of every head."""
    _, _, moment = aligned(seen.trace.qkv(-1))
    yield "rotation", gap(rotation(moment, steps_of(seen))[0], seen.group["rotation"]), ROTATION


def moments(seen: Seen) -> Iterator[Part]:
    """M of every head."""
    (moment,), theirs = aligned(seen.trace.qkv(-1))[2], seen.group["moment"]
    yield "moment", gap(moment, theirs), MOMENT * float(abs(theirs).max())


def attention_rows(seen: Seen) -> Iterator[Part]:
    """Every 49th row of the attention."""
    (weights,), theirs = seen.backbone.tail.attention(seen.trace.qkv(-1)).weights(), seen.group["attn_rows"]
    tolerance = CLOSE if steps_of(seen) == 5 else EXACT
    yield "attention rows", gap(thinned(weights, theirs, (1,), 49), theirs), tolerance


visual(
    "pearl",
    last_block("pearl", residual=False, mlp=False),
    WORDS,
    {"rotation": rotations, "moment": moments, "attn_rows": attention_rows},
)


@reads("stage_pearl")
def diffusion(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each head that has a picture and maps."""
    for group in file.grouped(PARTS):
        if group.gives("image") and group.gives("logits"):
            yield group.check("stage", f"pearl {group.head}", group.keys, partial(diffused, reference, group))


def diffused(reference: Reference, group: Group) -> Iterator[Part]:
    """Maps through the refinement, and what lies inside it."""
    own = dict(zip(ORDER, group.given("options").tolist(), strict=True))
    image = in_32nds(group.given("image"), reference.device)
    maps = torch.from_numpy(group.given("logits")).to(reference.device).float() * own["factor"]
    size, texts = tuple(maps.shape[1:]), None
    if own["text"]:
        texts = text_similarity(torch.from_numpy(group.given("text")).to(reference.device).float())
    step = LaplacianPropagation(int(own["grid"]), int(own["steps"]))
    cells = DenseMaps(maps).cells(step.factors(size))
    yield "wrong sides", gap(torch.tensor(cells.shape[1:]), group.given("options")[4:]), 0.0
    system = Diffusion.of(
        cells, grey_cells(image, size, step.factors(size)), None if texts is None else texts.diagonal()
    )
    solution = system.solve(step.steps)
    if "S" in group:
        yield "similarity of texts", gap(texts, group["S"]), SIMILARITY
    inside = {"data": (system.data, 0, DATA), "across": (system.across, 0, EDGES), "down": (system.down, 0, EDGES)}
    for part, (ours, axis, tolerance) in inside.items():
        if part in group:
            yield part, gap(thinned(ours, group[part], (axis,), 3), group[part]), tolerance
    enlarged = Scores(solution[None], Whole(size)).maps(size).dense()
    for part, ours, steps in (
        ("start", cells, (9, 1)),
        ("solution", solution, (3, 2)),
        ("out", enlarged, (9, 9)),
    ):
        if part in group:
            yield part, gap(every(ours, group[part].shape, steps), group[part]), CLOSE
    if "residual" in group:
        left = [(system.data * cells - system.product(x)).norm() for x in (cells, solution)]
        yield "residuals", gap(torch.stack(left), group["residual"]), CLOSE


def every(maps: Tensor, shape: tuple[int, ...], steps: tuple[int, int]) -> Tensor:
    """Every so many-th row and column of maps (Q, H, W); and every third query, where the `shape` has fewer of them."""
    return maps[:: 1 if shape[0] == len(maps) else 3, :: steps[0], :: steps[1]]


class Refined(Looked):
    """A photo, before and after the refinement."""

    @cached_property
    def first(self) -> StitchedMaps:
        """The maps before the refinement."""
        return self.model.score(self.picture)

    @cached_property
    def segmented(self) -> Segmented:
        """The maps after it; the probabilities are divided by their sum over the classes after the threshold."""
        maps = self.model.refine(self.first, self.picture)
        classes = self.model.labelling.probabilities(maps)
        return Segmented(self.model.label(maps, self.picture), maps, classes, classes / classes.sum(0), CLOSE)


def maps_of(find: Callable[[Refined], StitchedMaps], key: str, seen: Callable[[], Refined], group: Group):
    """Every 32nd pixel of maps, before or after the refinement."""
    theirs = group[key]
    yield key, gap(thinned(find(seen()).dense(), theirs, (1, 2), 32), theirs), CLOSE


def after(compare: Callable, seen: Callable[[], Refined], group: Group) -> Iterator[Part]:
    """What any segmentor's labels and probabilities are held against."""
    yield from compare(lambda: seen().segmented, group)


MAPS = {
    "logits": partial(maps_of, lambda seen: seen.first, "logits"),
    "scores": partial(maps_of, lambda seen: seen.segmented.maps, "scores"),
    "maxprob": partial(after, largest_probability),
    "label": partial(after, labels),
    "best": partial(after, best),
}


@reads("e2e_pearl_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called.removesuffix(NO_REFINEMENT))
    changes = {"model.refine": []} if called.endswith(NO_REFINEMENT) else {}
    model = cache(lambda: segmentor(reference, "pearl", dataset, changes))
    title = f"pearl on {called}"
    yield from bank_checks(file, title, model)
    yield from photo_checks(reference, file, title, lambda photo: Refined(model(), photo), MAPS)
