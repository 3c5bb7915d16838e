"""CLIPer: its readings and affinities, the scores of pictures whole and in windows, its maps, and the segmentor.

visual_cliper         [OPTIONS.]INPUT.kN, .GN_rows, .G_last_mean_rows: reading N and rows of its affinity
stage_cliper          [OPTIONS.]INPUT.seg: scores of `queries`, the last two being words of no class
                      [OPTIONS.]INPUT.NAME.settings, .value, .label: maps of these scores at a label's size
e2e_cliper_DATASET    our config's segmentor, its photos resized as the official code does
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from ...methods.cliper import SMALLEST, CLIPerMaps
from ...picture.picture import Picture, Scores, Whole
from ...picture.scores import DenseMaps, Labelling
from ...picture.segmentor import OpenVocabSegmentor
from ...picture.window import windows
from ...towers.encoder import DenseCLIP
from ...words.text import TextBank
from .datasets import dataset_named
from .names import UnknownName, Words, merged, options
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import Reference
from .segmentors import photo_checks, segmentor
from .visual import compared_rows, of_tail

AFFINITY, MEAN = 49, 37  # every so many-th row is kept
SCORES, MAPS, END = 5e-5, 2e-5, 2e-4  # of scores up to 2, of maps, and of scores end to end
STRIDE = 112
TOWER = dict(tail=dict(type="CLIPer", threshold=0.2), positions="surgery")
TYPES = {"q-q": "qq", "k-k": "kk", "v-v": "vv", "vanilla": "qk", "identity": "identity"}
WORDS: Words = {
    "nofuse": lambda: of_tail(fuse=False),
    "sel-": lambda place: of_tail(selected=-place),
    "scale": lambda scale: of_tail(scale=scale),
    "thr": lambda threshold: of_tail(threshold=threshold),
    "slide": lambda crop: of_tail(whole=True) | dict(crop=crop),
    **{word: lambda name=name: of_tail(attention=name) for word, name in TYPES.items()},
}


@reads("visual_cliper")
def insides(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each input."""
    found = (re.search(r"\.((?:k\d+|G\d+_rows|G_last_mean_rows)(?:\.probe)?)$", key) for key in file.keys)
    for group in file.grouped({match[1] for match in found if match}):
        parts = [part for part in group.keys if part]
        yield group.check("features", f"cliper {group.head}", parts, partial(inside, reference, group, parts))


def inside(reference: Reference, group: Group, parts: list[str]) -> Iterator[Part]:
    """The readings of an input, and rows of what they are mixed with."""
    words, _, image = group.head.rpartition(".")
    backbone = reference.backbone(**merged(TOWER, options(words, WORDS)))
    trace = backbone.trace(reference.input(image))
    features, mean = backbone.tail.readings(trace)
    weights = [t_and_weights[1] for t_and_weights in backbone.tail.mixed(trace)]
    for part in sorted({part.removesuffix(".probe") for part in parts}):
        if part == "G_last_mean_rows":
            yield part, gap(thinned(mean[0], group[part], (0,), MEAN), group[part]), CLOSE
            continue
        number = int(re.search(r"\d+", part)[0]) - 1
        if part.startswith("G"):
            yield part, gap(thinned(weights[number].weights()[0], group[part], (1,), AFFINITY), group[part]), CLOSE
            continue
        own = features[number - trace.depth if backbone.tail.fuse else -1]
        for told, outcome, tolerance in compared_rows(F.normalize(own[0].flatten(1).T, dim=1), group, part):
            yield f"{part} {told}".strip(), outcome, tolerance


@reads("stage_cliper")
def scores(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each picture, and for each setting that maps are made by from its scores."""
    if "queries" in file:
        yield Check("stage", "cliper", ["queries"], partial(given_queries, reference, file))
    for group in file.grouped(("seg", "settings", "value", "label"), aside=("queries",)):
        head = group.head.rpartition(".")[0] if "settings" in group else group.head
        compare = partial(of_maps if "settings" in group else of_scores, reference, group, head)
        yield group.check("stage", f"cliper {group.head}", group.keys, compare)


def given_queries(reference: Reference, file: File) -> Iterator[Part]:
    """The recipe's."""
    yield "queries", gap(reference.recipe.tiny_queries(), file["queries"]), CLOSE


def read(reference: Reference, head: str) -> tuple[Scores, Picture]:
    """The scores of a picture: five classes, and a background of two words behind them."""
    words, _, image = head.rpartition(".")
    settings = merged(TOWER, options(words, WORDS))
    crop = settings.pop("crop", None)
    backbone, picture = reference.backbone(**settings), reference.input(image)[0]
    queries = reference.recipe.tiny_queries()
    owner = torch.arange(len(queries)).clamp(max=len(queries) - 2)
    text = TextBank(queries, owner, len(queries) - 1, background=len(queries) - 2).to(queries)
    rule = Labelling(owner.bincount(), 1.0, background=text.background).to(picture.device)
    return scored(backbone, picture, text, rule, crop)


def scored(
    backbone: DenseCLIP, image: Tensor, text: TextBank, rule: Labelling, crop: int | None
) -> tuple[Scores, Picture]:
    """The scores of a network's input (3, h, w), as the tail reads it whole or in windows."""
    size, tail = tuple(image.shape[1:]), backbone.tail
    plan = windows(size, crop, STRIDE if crop else None, backbone.patch)
    gathered = backbone.gather(torch.cat([*plan.cut([image], len(plan))]), text)
    whole = backbone.gather(image[None], text) if tail.needs_whole else None
    picture = Picture(image, image, size, plan, gathered, text, backbone.trunk, 1, rule, whole=whole)
    return tail.read(picture), picture


def of_scores(reference: Reference, group: Group, head: str) -> Iterator[Part]:
    """Of the classes, on the patches."""
    found, _ = read(reference, head)
    theirs = group["seg"]
    yield "", gap(found.tiles[0, : len(theirs)], theirs), SCORES


def of_maps(reference: Reference, group: Group, head: str) -> Iterator[Part]:
    """Maps of their scores, and labels; the background is their class 0 and our last one."""
    _, picture = read(reference, head)
    theirs, size = torch.from_numpy(group.file[f"{head}.seg"]).to(picture.image), group["label"].shape
    others = picture.labelling.sizes[-1]
    tiles = torch.cat([theirs, theirs.new_zeros(others, *theirs.shape[1:])])[None]
    score_threshold, threshold, normalise = group["settings"].tolist()
    step = CLIPerMaps(score_threshold, threshold, bool(normalise))
    maps = step.revise(Scores(tiles, Whole(picture.size)).maps(size), picture)
    yield from compared_maps(maps, picture.labelling, len(theirs), group, bool(threshold))


def compared_maps(maps: DenseMaps, rule: Labelling, classes: int, group: Group, below: bool) -> Iterator[Part]:
    """Values every 16th pixel, and labels; where nothing is `below` a threshold, a background stands in front."""
    values = maps.scores[:classes].clamp(min=0)
    values = values if below else torch.cat([maps.scores[classes:][:1], values])
    yield "values", gap(thinned(values, group["value"], (1, 2), 16), group["value"]), MAPS
    yield "wrong labels", differing((rule.labels(maps) + 1) % (classes + 1), group["label"]), 0.0


@dataclass(frozen=True)
class Seen:
    """A photo on its way through a segmentor, resized as the official code does to `size`."""

    model: OpenVocabSegmentor
    photo: Path
    size: tuple[int, int]

    @cached_property
    def picture(self) -> Picture:
        """After the trunk."""
        with Image.open(self.photo) as photo:
            labels = (photo.height, photo.width)
            pixels = np.array(photo.convert("RGB").resize(self.size[::-1], Image.Resampling.BICUBIC))
        image = torch.from_numpy(pixels).permute(2, 0, 1).to(self.model.text.features)
        image = (image - self.model.data_preprocessor.mean) / self.model.data_preprocessor.std
        (picture,) = self.model.look([image], [SegDataSample(metainfo=dict(ori_shape=labels))])
        return picture

    @cached_property
    def scores(self) -> Scores:
        """As the tail reads them."""
        return self.model.backbone.tail.read(self.picture)

    @cached_property
    def step(self) -> CLIPerMaps:
        """What makes maps of them."""
        (step,) = self.model.score_steps
        return step

    def maps(self, score_threshold: float | None = None, threshold: float | None = None) -> DenseMaps:
        """At the labels' size; the config's thresholds of classes and of values unless others are given."""
        own = self.step.score_threshold if score_threshold is None else score_threshold
        step = CLIPerMaps(own, threshold or self.step.threshold, self.step.normalise)
        return step.revise(self.scores.maps(self.picture.size), self.picture)


Look = Callable[[], Seen]


def things(seen: Seen) -> Tensor:
    """Which queries are no background's, (Q,)."""
    return seen.picture.labelling.owner != seen.picture.labelling.background


def size(seen: Look, group: Group) -> Iterator[Part]:
    """Of the network's input, by our own reader."""
    yield "size", differing(np.array(seen().picture.image.shape[1:]), group["size"]), 0.0


def patch_scores(seen: Look, group: Group) -> Iterator[Part]:
    """Of the classes, every third patch."""
    own = seen().scores.tiles[0][things(seen())]
    yield "scores", gap(thinned(own, group["seg"], (1, 2), 3), group["seg"]), END


def best(seen: Look, group: Group) -> Iterator[Part]:
    """Of each class, on the patches."""
    own = seen().scores.tiles[0][things(seen())].amax((1, 2))
    yield "best scores", gap(own, group["final_score"]), END


def values(seen: Look, group: Group) -> Iterator[Part]:
    """The largest of the classes, every eighth pixel."""
    own = seen().maps().scores[things(seen())].clamp(min=0).amax(0)
    yield "largest value", gap(thinned(own, group["value"], (0, 1), 8), group["value"]), END


def labels(name: str, low: float | None, seen: Look, group: Group) -> Iterator[Part]:
    """All but those that hang on the last digits: of the two best values, or of the best and the threshold."""
    maps, rule = seen().maps(low), seen().picture.labelling
    best, second = seen().maps(low, SMALLEST).scores.topk(2, dim=0).values
    below = best < seen().step.threshold
    certain = ((best - seen().step.threshold).abs() > END) & (below | (best - second > END))
    yield f"wrong labels where sure, {name}", differing(rule.labels(maps), group[name], certain.cpu().numpy()), 0.0


@reads("e2e_cliper_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    dataset = dataset_named(called)
    title, model = f"cliper on {dataset}", cache(lambda: segmentor(reference, "cliper", dataset))
    words = [key for key in ("foreground", "background", "templates", "text_fg", "text_bg", "settings") if key in file]
    yield Check("end to end", title, words, partial(words_and_settings, model, file))
    low = float(file["settings"][3]) if "settings" in file and len(file["settings"]) > 3 else None
    maps = dict(size=size, seg=patch_scores, final_score=best, value=values)
    maps |= {name: partial(labels, name, of) for name, of in (("label", None), ("label_low", low))}
    sizes = {key.removesuffix(".size"): tuple(file[key].tolist()) for key in file.keys if key.endswith(".size")}
    see = lambda photo: Seen(model(), photo, size_of(sizes, photo))  # noqa: E731
    yield from photo_checks(reference, file, title, see, maps, aside=words)


def size_of(sizes: dict[str, tuple[int, int]], photo: Path) -> tuple[int, int]:
    """Of the network's input, by the head that is the photo's name or starts it."""
    named = [head for head in sizes if photo.stem == head or photo.stem.startswith(f"{head}_")]
    if not named:
        raise UnknownName(f"nothing says at what size {photo.stem} is read")
    return sizes[max(named, key=len)]


def words_and_settings(model: Callable[[], OpenVocabSegmentor], file: File) -> Iterator[Part]:
    """The names, their texts and the numbers of our config beside theirs."""
    own = model()
    step, vocabulary, rule = own.score_steps[0], own.vocabulary, own.labelling
    of_things = (rule.owner != rule.background).cpu()
    for key, text, which in (("foreground", "text_fg", of_things), ("background", "text_bg", ~of_things)):
        if key in file:
            names = [query for query, held in zip(vocabulary.queries, which, strict=True) if held]
            yield f"{key} names that differ", float(names != file[key].tolist()), 0.0
        if text in file:
            yield text, gap(own.text.features[which.to(own.text.features.device)], file[text]), CLOSE
    if "templates" in file:
        yield "templates", abs(len(own.templates) - float(file["templates"])), 0.0
    if "settings" in file:
        found = np.array([step.score_threshold, step.threshold, step.normalise], float)
        yield "settings", gap(found, file["settings"][:3]), 0.0
