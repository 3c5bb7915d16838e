"""LPOSS and LPOSS+: scores spread over graphs as given, MaskCLIP as they run it, and the segmentors.

    stage_lposs    CASE[.OPTIONS].PART: patches by `.guide`, `.boxes` and `.scores`, pixels by `.picture` and `.maps`
    visual_lposs   [gelu.]INPUT
    e2e_lposs_DATASET, e2e_lposs_plus_DATASET: at the short side `short`, by a stand-in for DINO-B/16 in closed form

A head's own `.options` say all; where it has none, words in it change those of the head that it prolongs. `.exact` and
`.iterations`, where the solver would end and how far it went, are held against nothing.
"""

from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial

import numpy as np
import torch
from torch import Tensor

from ...methods.lposs import LPOSS, SMALLEST, Graph, LPOSSPlus, lab, pixel_graph
from ...picture.picture import Scores
from ...picture.scores import DenseMaps, StitchedMaps
from ...picture.segmentor import OpenVocabSegmentor
from ...picture.window import Axis, Windows
from .datasets import dataset_named
from .names import UnknownName, Words, options
from .outcome import CLOSE, Part, differing, factor, gap, relative, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import Looked, bank_checks, photo_checks, segmentor
from .standins import CHANNELS, CosineGuide, GivenGuide, in_32nds
from .visual import visual

PATCHES, PIXELS = 5e-5, 2e-4  # of what is spread, on scales of 6
DEGREES, WEIGHTS, COLOURS = 1e-5, 1e-6, 2e-6  # relative; of Wn; of L
ENTRIES = 1e-4  # relative; a near-tie for the k-th neighbour turns a few, another k moves 2e-3 of them
SPREAD = {"lposs": 1e-3, "lposs_plus": 5e-3}  # of what is spread end to end, where a flat bar has near-ties
SURE = 1e-3  # two best scores this close to each other (relative) may change places

# What `.options` hold, in order, and the words that say the same.
ON_PATCHES = ("neighbours", "power", "sigma", "distance", "alpha")
ON_PIXELS = ("side", "tau", "alpha")
WORDS: Words = {
    "k": lambda count: dict(neighbours=count),
    "gamma": lambda power: dict(power=power),
    "sigma": lambda sigma: dict(sigma=sigma),
    "alpha": lambda alpha: dict(alpha=alpha),
    "r": lambda side: dict(side=side),
    "tau": lambda tau: dict(tau=tau),
}
PARTS = ("options", "out", "exact", "iterations", "residual", "degree")
OF_PATCHES = ("boxes", "grid", "guide", "scores", "nnz", "Wn_rows")
OF_PIXELS = ("picture", "maps", "lab")

visual("lposs", dict(type="MaskCLIP"), {"gelu": lambda: dict(quick_gelu=False)}, positions="maskclip")


@reads("stage_lposs")
def graphs(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each head that has a guide's features or a picture, its own or those of the head that it prolongs."""
    for group in file.grouped((*PARTS, *OF_PATCHES, *OF_PIXELS)):
        for given, compare in (("guide", over_patches), ("picture", over_pixels)):
            if group.gives(given):
                yield group.check("stage", f"lposs {group.head}", group.keys, partial(compare, reference, group))


def settings(group: Group, order: tuple[str, ...]) -> dict[str, int | float]:
    """Of a case, by our names; what nothing says is left out."""
    found = dict(zip(order, group.given("options").tolist(), strict=True)) if group.gives("options") else {}
    _, _, words = group.head.partition(".")
    return found if "options" in group else found | options(words, WORDS)


def over_patches(reference: Reference, group: Group) -> Iterator[Part]:
    """Scores spread over the patches of windows, and the graph."""
    own = settings(group, ON_PATCHES)
    distance = own.pop("distance", 1)
    if distance != 1:
        raise UnknownName(f"distances are taken as they are, not to the power of {distance:g}")
    stage = LPOSS(dict(type=GivenGuide.__name__), **own)
    stage.neighbours = int(stage.neighbours)
    plan = windows_at(group.given("boxes"), reference.recipe.PATCH)
    guide = in_32nds(group.given("guide"), reference.device)
    stage.guide.unit = plan.rows.crop // guide.shape[2]
    graph = stage.graph(guide, plan)
    scores = torch.from_numpy(group.given("scores")).to(reference.device)
    yield from spread(graph, scores, stage, group, PATCHES)
    if "nnz" in group:
        yield "entries, relative", relative(entries(graph), group["nnz"]), ENTRIES
    if "Wn_rows" in group:
        theirs, whole = group["Wn_rows"], torch.eye(len(scores), device=scores.device)
        rows = graph.mix(thinned(whole, theirs, (0,), 197).T).T  # Wn is symmetric
        yield "rows of Wn", gap(thinned(rows, theirs, (1,), 1), theirs), WEIGHTS


def windows_at(boxes: np.ndarray, patch: int) -> Windows:
    """The windows (B, 4: top, left, bottom, right). Raises UnknownName for any but rows crossed with columns."""
    axes = []
    for start, end in ((0, 2), (1, 3)):
        starts = tuple(sorted({*boxes[:, start].tolist()}))
        axes.append(Axis(int(boxes[:, end].max()), int(boxes[0, end] - boxes[0, start]), starts, patch))
    plan = Windows(*axes)
    if plan.boxes() != [tuple(box) for box in boxes.tolist()]:
        raise UnknownName("its windows are not rows crossed with columns")
    return plan


def over_pixels(reference: Reference, group: Group) -> Iterator[Part]:
    """Maps spread over the pixels of a picture, and the graph."""
    own = settings(group, ON_PIXELS)
    if "side" in own:
        own["reach"] = int(own.pop("side")) // 2
    step = LPOSSPlus(**own)
    picture, maps = (torch.from_numpy(group.given(part)).to(reference.device) for part in ("picture", "maps"))
    colours = lab(picture.permute(2, 0, 1).float() / 255)
    graph = pixel_graph(colours, step.reach, step.tau)
    yield from spread(graph, maps.flatten(1).T.contiguous(), step, group, PIXELS)
    if "lab" in group:
        theirs = group["lab"].reshape(-1, 3)
        yield "colours", gap(thinned(colours.flatten(1).T, theirs, (0,), 3), theirs), COLOURS


def spread(graph: Graph, columns: Tensor, own: LPOSS | LPOSSPlus, group: Group, tolerance: float) -> Iterator[Part]:
    """Columns (N, Q) over a graph, what the solver leaves of each, and the degrees."""
    found = graph.spread(columns, own.alpha, own.steps)
    if "out" in group:
        theirs = group["out"]
        maps = theirs.ndim == 3  # (Q, H, W)
        yield "", gap(found, theirs.reshape(len(theirs), -1).T if maps else theirs), tolerance
    if "residual" in group:
        left = (columns - found + own.alpha * graph.mix(found)).norm(dim=0) / columns.norm(dim=0).clamp(min=SMALLEST)
        yield "residuals", gap(left, group["residual"]), tolerance
    if "degree" in group:
        theirs = group["degree"].ravel()
        degree = np.where(theirs < SMALLEST, 1, theirs)  # as one of 0 counts
        yield "degrees, relative", relative(graph.scale[:, 0] ** -2, degree), DEGREES


def entries(graph: Graph) -> Tensor:
    """How many entries of I - αWn are not 0."""
    nodes, places = len(graph.scale), []
    for part in graph.parts:
        row, column = part.to_sparse_coo().indices()
        places.append((row * nodes + column)[part.values() != 0])
    return torch.tensor(nodes + len(torch.cat(places).unique()))


class Seen(Looked):
    """A photo, and its scores as they are spread."""

    @cached_property
    def first(self) -> Scores:
        """As the tail reads it."""
        return self.model.backbone.tail.read(self.picture)

    @cached_property
    def maps(self) -> StitchedMaps | DenseMaps:
        """Refined, at the labels' size."""
        return self.model.refine(self.model.score(self.picture), self.picture)

    @cached_property
    def classes(self) -> Tensor:
        """Scores (K, H, W)."""
        return self.model.labelling.merge(self.maps.dense())


def patch_scores(seen: Callable[[], Seen], group: Group) -> Iterator[Part]:
    """Cosines of every ninth patch."""
    yield "scores of patches", _of_patches(seen().first, group["patch_scores"]), CLOSE


def patch_out(tolerance: float, seen: Callable[[], Seen], group: Group) -> Iterator[Part]:
    """The same, spread."""
    (stage,) = seen().model.stages
    yield "spread over patches", _of_patches(stage(seen().first, seen().picture), group["patch_out"]), tolerance


def _of_patches(scores: Scores, theirs: np.ndarray) -> float:
    rows = scores.tiles.permute(0, 2, 3, 1).flatten(0, 2)
    return gap(thinned(rows, theirs, (0,), 9), theirs)


def class_scores(tolerance: float, seen: Callable[[], Seen], group: Group) -> Iterator[Part]:
    """Of the classes, every 16th pixel."""
    theirs = group["scores"]
    yield "scores of classes", gap(thinned(seen().classes, theirs, (1, 2), 16), theirs), tolerance


def labels(seen: Callable[[], Seen], group: Group) -> Iterator[Part]:
    """Every pixel whose best class is surely that."""
    best, second = seen().classes.topk(2, dim=0).values
    sure = best - second > SURE * factor(best.device) * best.abs()
    found = seen().model.label(seen().maps, seen().picture)
    yield "wrong labels where sure", differing(found, group["label"], sure.cpu().numpy()), 0.0


def all_entries(seen: Callable[[], Seen], group: Group) -> Iterator[Part]:
    """Of the patches' graph, and of the pixels', whose neighbours no colour decides on."""
    model, picture = seen().model, seen().picture
    (stage,) = model.stages
    flat = torch.zeros_like(picture.image)
    steps = [step for step in model.score_steps if isinstance(step, LPOSSPlus)]
    found = [stage.graph(picture.values(stage.guide), picture.plan)]
    found += [pixel_graph(flat, step.reach, step.tau) for step in steps]
    yield "entries, relative", relative(torch.stack([*map(entries, found)]), group["nnz"]), ENTRIES


@reads("e2e_(lposs(?:_plus)?)_(.+)")
def end_to_end(reference: Reference, file: File, method: str, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called)
    title, tolerance = f"{method} on {dataset}", SPREAD[method]
    short = int(file["short"]) if "short" in file else None
    model = cache(lambda: with_stand_in(reference, method, dataset, short))
    maps = {
        "patch_scores": patch_scores,
        "patch_out": partial(patch_out, tolerance),
        "scores": partial(class_scores, tolerance),
        "label": labels,
        "nnz": all_entries,
    }
    if short is not None:
        yield Check("end to end", title, ["short"], lambda: iter(()))
    yield from bank_checks(file, title, model)
    yield from photo_checks(reference, file, title, lambda photo: Seen(model(), photo), maps, aside=("short",))


def with_stand_in(reference: Reference, method: str, dataset: str, short: int | None) -> OpenVocabSegmentor:
    """The segmentor with the stand-in for DINO-B/16; `short` in place of our config's short side."""
    changes = {} if short is None else {"model.short_side": short}
    guide = dict(type=CosineGuide.__name__, unit=16, _delete_=True)
    model = segmentor(reference, method, dataset, {"model.stages.0.guide": guide, **changes})
    stand_in, recipe = model.stages[0].guide, reference.recipe
    stand_in.draw(recipe, "frontier/standin16")
    stand_in.shift = 0.5 * recipe.tiny_guide("frontier/standin16/position", CHANNELS, 14, 14, 0.0)
    return model
