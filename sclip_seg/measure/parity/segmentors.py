"""`e2e_METHOD_DATASET.npz`: whole segmentors, by our config of the method on the dataset, on the folder's photos.

Keys are `text` (the text bank) and `query_idx` (the class of each query), and of each photo `PHOTO.label`,
`PHOTO.maxprob` (the largest class probability), `PHOTO.logits` (score maps before softmax) and `PHOTO.best` (labels
before the threshold), the maps at every n-th pixel.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...config import CONFIGS, choices, load_config
from ...errors import InputError, near
from ...options import put
from ...picture.segmentor import OpenVocabSegmentor
from .names import UnknownName
from .outcome import CLOSE, Part, differing, factor, gap, thinned
from .reading import Check, File, Group, reads
from .reference import ARCH, Reference

# Where a drawing is flat, PAMR divides rounding by rounding: 2e-3 of the maps even between one thread and two on a CPU.
FLAT = 5e-4  # of maps after it, on a GPU, before the factor of all tolerances there
SURE = 2e-4  # two best scores this close to each other (relative) may change places


@reads("e2e_(.+)")
def end_to_end(reference: Reference, file: File, name: str) -> Iterator[Check]:
    """The cases of a method that needs no second model, whose stand-in no name would tell."""
    method, dataset = method_and_dataset(name)
    tail = load_config(CONFIGS / f"{method}.py", dataset).model.backbone.tail
    if {"guide", "affinity"} & tail.keys():
        raise UnknownName(f"nothing says what stands in for the second model of {method}")
    yield from segmentor_checks(reference, file, method, dataset)


def method_and_dataset(name: str) -> tuple[str, str]:
    """`METHOD_DATASET`, two names that our configs have. Raises UnknownName."""
    have = choices(CONFIGS)
    for dataset in sorted(have["dataset"], key=len, reverse=True):
        method = name.removesuffix(f"_{dataset}")
        if method != name:
            if method not in have["method"]:
                raise UnknownName(f"there is no method {method!r}")
            return method, dataset
    raise UnknownName(f"{name!r} ends with no dataset")


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


class Segmented:
    """A photo through a segmentor: its labels (H, W), the score maps behind them and their class probabilities."""

    def __init__(self, model: OpenVocabSegmentor, photo: Path, method: str) -> None:
        picture = cv2.imread(str(photo))
        sample = SegDataSample(metainfo=dict(ori_shape=picture.shape[:2]))
        data = dict(inputs=[torch.from_numpy(picture).permute(2, 0, 1)], data_samples=[sample])
        data = model.data_preprocessor(data)
        ((labels, self.maps),) = model.segment(data["inputs"], data["data_samples"])
        self.labels, self.probabilities = labels.cpu(), model.labelling.probabilities(self.maps)
        self.published = published_probabilities(method, model, self.probabilities)

    def sure(self, tolerance: float) -> np.ndarray:
        """Where the two best classes are further apart than that, relative to the best: (H, W)."""
        best, second = self.published.topk(2, dim=0).values
        return ((best - second) / best > tolerance).cpu().numpy()


def published_probabilities(method: str, model: OpenVocabSegmentor, classes: Tensor) -> Tensor:
    """Class probabilities (K, H, W) where each official code leaves them; the labels do not depend on it.

    SCLIP, SC-CLIP: classes that the area filter removes are 0. NACLIP: divided by their sum after the threshold.
    """
    if method in ("sclip", "scclip") and model.labelling.min_area:
        return classes * model.labelling.large_enough(classes.argmax(0))[:, None, None]
    return classes / classes.sum(0) if method == "naclip" else classes


def segmentor_checks(
    reference: Reference, file: File, method: str, dataset: str, options: Mapping | None = None
) -> Iterator[Check]:
    """The text bank, and every photo."""
    model = cache(lambda: segmentor(reference, method, dataset, options))
    title = f"{method} on {dataset}"
    for key, compare in BANK.items():
        if key in file:
            yield Check("end to end", title, [key], partial(compare, model, file))
    for group in file.grouped(MAPS, aside=BANK):
        photo = cache(lambda group=group: photo_of(reference, group))
        seen = cache(lambda photo=photo: Segmented(model(), photo(), method))
        for key, compare in MAPS.items():
            if key in group:
                run = partial(compare, reference, model, seen, group)
                yield group.check("end to end", f"{title}, {group.head}:", (key,), run)


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
    if len(fitting) > 1:
        drawn = reference.recipe.tiny_photo().cpu().numpy()[:, :, ::-1]
        return next((photo for photo, p in fitting.items() if np.array_equal(p, drawn)), min(fitting))
    return next(iter(fitting))


Model = Callable[[], OpenVocabSegmentor]
Seen = Callable[[], Segmented]


def bank(model: Model, file: File) -> Iterator[Part]:
    """Unit features of the queries."""
    yield "text bank", gap(model().text.features, file["text"]), CLOSE


def owners(model: Model, file: File) -> Iterator[Part]:
    """The class of each query."""
    yield "wrong owners", differing(model().text.owner, file["query_idx"]), 0.0


def score_maps(reference: Reference, model: Model, seen: Seen, group: Group) -> Iterator[Part]:
    """Of the queries, refined, every 32nd pixel."""
    ours, theirs = seen().maps.dense(), group["logits"]
    yield "score maps", gap(thinned(ours, theirs, (1, 2), 32), theirs), tolerance(reference, model())


def largest_probability(reference: Reference, model: Model, seen: Seen, group: Group) -> Iterator[Part]:
    """Of the classes, every eighth pixel."""
    ours, theirs = seen().published.amax(0), group["maxprob"]
    yield "largest probability", gap(thinned(ours, theirs, (0, 1), 8), theirs), tolerance(reference, model())


def labels(reference: Reference, model: Model, seen: Seen, group: Group) -> Iterator[Part]:
    """Every pixel whose best class is surely that."""
    where = seen().sure(SURE * factor(reference.device))
    yield "wrong labels where sure", differing(seen().labels, group["label"], where), 0.0


def best(reference: Reference, model: Model, seen: Seen, group: Group) -> Iterator[Part]:
    """The same before the threshold."""
    where = seen().sure(SURE * factor(reference.device))
    yield "wrong best classes where sure", differing(seen().probabilities.argmax(0), group["best"], where), 0.0


def tolerance(reference: Reference, model: OpenVocabSegmentor) -> float:
    """Of maps."""
    return FLAT if model.score_steps and reference.device.type != "cpu" else CLOSE


BANK = {"text": bank, "query_idx": owners}
MAPS = {"logits": score_maps, "maxprob": largest_probability, "label": labels, "best": best}
