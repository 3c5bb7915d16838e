"""`e2e_METHOD_DATASET.npz`: whole segmentors, by our config of the method on the dataset, on the folder's photos.

Keys are `text` (the text bank), `query_idx` (the class of each query) and `queries` (their strings), and of each photo
`PHOTO.label`, `PHOTO.maxprob` (the largest class probability), `PHOTO.logits` (score maps before softmax) and
`PHOTO.best` (labels before the threshold), the maps at every n-th pixel; `PHOTO.safe` may say, in bits, which pixels to
compare.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...config import CONFIGS, load_config
from ...errors import InputError, near
from ...options import put
from ...picture.picture import Picture
from ...picture.scores import DenseMaps, StitchedMaps
from ...picture.segmentor import OpenVocabSegmentor
from .datasets import method_and_dataset
from .names import UnknownName
from .outcome import CLOSE, Part, differing, factor, gap, thinned
from .reading import Check, File, Group, reads
from .reference import ARCH, Reference
from .standins import CosineGuide

# Where a drawing is flat, PAMR divides rounding by rounding, and each device rounds in its own way.
FLAT = 5e-4  # of maps after it, on a GPU, before the factor of all tolerances there
SAFE = "safe"
SURE = 2e-4  # two best scores this close to each other (relative) may change places

# What the official code does that our config leaves off.
AS_RELEASED = {"resclip": {"model.backbone.tail.half": True}}
T = TypeVar("T")
Model = Callable[[], OpenVocabSegmentor]
Seen = Callable[[], "Segmented"]
Inside = Callable[[Seen, Group], Iterator[Part]]


@reads("e2e_(.+)")
def end_to_end(reference: Reference, file: File, name: str) -> Iterator[Check]:
    """The cases of a method that needs no second model, whose stand-in no name would tell."""
    method, dataset = method_and_dataset(name)
    tail = load_config(CONFIGS / f"{method}.py", dataset).model.backbone.tail
    if {"guide", "affinity"} & tail.keys():
        raise UnknownName(f"nothing says what stands in for the second model of {method}")
    model = cache(lambda: segmentor(reference, method, dataset, AS_RELEASED.get(method)))
    yield from segmentor_checks(reference, file, f"{method} on {dataset}", model, partial(published, method, model))


def segmentor(reference: Reference, method: str, dataset: str, options: Mapping | None = None) -> OpenVocabSegmentor:
    """The recipe's tower under our config; `options` as of `load_config`, set last."""
    config = load_config(CONFIGS / f"{method}.py", dataset)
    config.model.backbone.update(arch=ARCH, pretrained=str(reference.weights), quick_gelu=True)
    config.model.update(text_cache=None, precision="fp32")
    for key, value in (options or {}).items():
        put(config._cfg_dict, key, value)
    model = MODELS.build(config.model).eval().to(reference.device)
    model.prepare()
    return model


def guided_segmentor(reference: Reference, method: str, dataset: str) -> OpenVocabSegmentor:
    """A segmentor whose tail has the stand-in for DINO-B/8 as its guide."""
    guide = dict(type=CosineGuide.__name__, unit=8, _delete_=True)
    model = segmentor(reference, method, dataset, {"model.backbone.tail.guide": guide})
    model.backbone.tail.guide.draw(reference.recipe, "frontier/standin8")
    return model


@dataclass(frozen=True)
class Looked:
    """A photo on its way through a segmentor, step by step, for a method whose steps the reference has."""

    model: OpenVocabSegmentor
    photo: Path

    @cached_property
    def picture(self) -> Picture:
        """After the trunk."""
        (picture,) = self.model.look(*read_photo(self.model, self.photo))
        return picture


@dataclass(frozen=True)
class Segmented:
    """A photo through a segmentor: labels (H, W), the score maps behind them and their class probabilities (K, H, W).

    `published`: the probabilities as the official code leaves them. `tolerance`: of maps.
    """

    labels: Tensor
    maps: StitchedMaps | DenseMaps
    probabilities: Tensor
    published: Tensor
    tolerance: float

    @cached_property
    def sure(self) -> np.ndarray:
        """Where the two best classes are not so close that rounding may turn them, (H, W)."""
        best, second = self.published.topk(2, dim=0).values
        return ((best - second) / best > SURE * factor(best.device)).cpu().numpy()


def segmented(model: OpenVocabSegmentor, photo: Path, publish: Callable[[Tensor], Tensor]) -> Segmented:
    """A photo as mmseg's pipeline reads it."""
    ((labels, maps),) = model.segment(*read_photo(model, photo))
    classes = model.labelling.probabilities(maps)
    tolerance = FLAT if model.score_steps and classes.device.type != "cpu" else CLOSE
    return Segmented(labels, maps, classes, publish(classes), tolerance)


def read_photo(model: OpenVocabSegmentor, photo: Path) -> tuple[list[Tensor], list[SegDataSample]]:
    """The network's input and its sample."""
    picture = cv2.imread(str(photo))
    sample = SegDataSample(metainfo=dict(ori_shape=picture.shape[:2]))
    data = dict(inputs=[torch.from_numpy(picture).permute(2, 0, 1)], data_samples=[sample])
    data = model.data_preprocessor(data)
    return data["inputs"], data["data_samples"]


def published(method: str, model: Model, classes: Tensor) -> Tensor:
    """Class probabilities (K, H, W) where each official code leaves them; the labels do not depend on it.

    SCLIP, SC-CLIP, SFP: classes that the area filter removes are 0. NACLIP: divided by their sum after the threshold.
    """
    labelling = model().labelling
    if method in ("sclip", "scclip", "sfp") and labelling.min_area:
        return classes * labelling.large_enough(classes.argmax(0))[:, None, None]
    return classes / classes.sum(0) if method == "naclip" else classes


def segmentor_checks(
    reference: Reference,
    file: File,
    title: str,
    model: Model,
    publish: Callable[[Tensor], Tensor] = lambda classes: classes,
    maps: Mapping[str, Inside] | None = None,
) -> Iterator[Check]:
    """The text bank of a segmentor, and every photo of a file.

    `model` builds it, once; `publish` makes its class probabilities those of the official code; `maps` is what is
    compared of a photo, by key.
    """
    yield from bank_checks(file, title, model)
    see = partial(_seen, model, publish)
    yield from photo_checks(reference, file, title, see, maps or MAPS)


def _seen(model: Model, publish: Callable[[Tensor], Tensor], photo: Path) -> Segmented:
    return segmented(model(), photo, publish)


def bank_checks(file: File, title: str, model: Model) -> Iterator[Check]:
    """The text bank of a segmentor."""
    for key, compare in BANK.items():
        if key in file:
            yield Check("end to end", title, [key], partial(compare, model, file))


def photo_checks(
    reference: Reference,
    file: File,
    title: str,
    see: Callable[[Path], T],
    maps: Mapping[str, Callable[[Callable[[], T], Group], Iterator[Part]]],
    aside: Iterable[str] = (),
) -> Iterator[Check]:
    """Every photo of a file: what is seen of it, once, is handed to each of `maps` whose key there is."""
    for group in file.grouped((*maps, SAFE), aside=(*BANK, *aside)):
        seen = cache(lambda group=group: see(photo_of(reference, group)))
        for key, compare in maps.items():
            if key in group:
                keys = (key, SAFE)
                yield group.check("end to end", f"{title}, {group.head}:", keys, partial(compare, seen, group))


def photo_of(reference: Reference, group: Group) -> Path:
    """`NAME.png` or `NAME_*.png` among the photos, of the size of its labels.

    Of several the one that the recipe draws, else the first. Raises InputError where there is none.
    """
    name, size = group.head, group["label"].shape if "label" in group else None
    photos = sorted((reference.folder / "photos").glob("*.png"))
    named = [photo for photo in photos if photo.stem == name or photo.stem.startswith(f"{name}_")]
    pictures = {photo: cv2.imread(str(photo)) for photo in named}
    fitting = {photo: p for photo, p in pictures.items() if p is not None and size in (None, p.shape[:2])}
    if not fitting:
        told = "of the size of its labels" if named else f"of that name{near(name, [photo.stem for photo in photos])}"
        raise InputError(f"there is no photo {name!r} {told}")
    drawn = reference.recipe.tiny_photo().cpu().numpy()[:, :, ::-1] if len(fitting) > 1 else None
    return next((photo for photo, picture in fitting.items() if np.array_equal(picture, drawn)), min(fitting))


def bank(model: Model, file: File) -> Iterator[Part]:
    """Unit features of the queries."""
    yield "text bank", gap(model().text.features, file["text"]), CLOSE


def owners(model: Model, file: File) -> Iterator[Part]:
    """The class of each query."""
    yield "wrong owners", differing(model().text.owner, file["query_idx"]), 0.0


def strings(model: Model, file: File) -> Iterator[Part]:
    """What the queries ask for, in their order."""
    pairs = zip_longest(model().vocabulary.queries, file["queries"].tolist())
    yield "wrong queries", float(sum(ours != theirs for ours, theirs in pairs)), 0.0


def score_maps(seen: Seen, group: Group) -> Iterator[Part]:
    """Of the queries, refined, every 32nd pixel."""
    ours, theirs = seen().maps.dense(), group["logits"]
    ours, where = (thinned(maps, theirs, (1, 2), 32) for maps in (ours, safe(group, ours.shape).expand(ours.shape)))
    yield "score maps", gap(ours, theirs, where.numpy()), seen().tolerance


def largest_probability(seen: Seen, group: Group) -> Iterator[Part]:
    """Of the classes, every eighth pixel."""
    ours, theirs = seen().published.amax(0), group["maxprob"]
    ours, where = (thinned(map, theirs, (0, 1), 8) for map in (ours, safe(group, ours.shape)))
    yield "largest probability", gap(ours, theirs, where.numpy()), seen().tolerance


def labels(seen: Seen, group: Group) -> Iterator[Part]:
    """Every pixel whose best class is surely that."""
    where = seen().sure & safe(group, seen().labels.shape).numpy()
    yield "wrong labels where sure", differing(seen().labels, group["label"], where), 0.0


def best(seen: Seen, group: Group) -> Iterator[Part]:
    """The same before the threshold."""
    found = seen().probabilities.argmax(0)
    where = seen().sure & safe(group, found.shape).numpy()
    yield "wrong best classes where sure", differing(found, group["best"], where), 0.0


def safe(group: Group, size: Sequence[int]) -> Tensor:
    """(H, W) of maps (..., H, W): the pixels to compare, which are all where nothing is said of them."""
    height, width = size[-2:]
    if SAFE not in group:
        return torch.ones(height, width, dtype=torch.bool)
    return torch.from_numpy(np.unpackbits(group[SAFE], count=height * width).astype(bool)).view(height, width)


BANK = {"text": bank, "query_idx": owners, "queries": strings}
MAPS: dict[str, Inside] = {"logits": score_maps, "maxprob": largest_probability, "label": labels, "best": best}
