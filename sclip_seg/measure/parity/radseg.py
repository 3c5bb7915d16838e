"""RADSeg on the tiny RADIO of `recipe_radio.py`: features of one window, and the segmentor; between: `radseg_stages`.

visual_radseg   [plain.|corners.|scaleN.]INPUT[.PART]; `plain` is the block as trained, `corners` the older rule of
                positions, `scale` is SCRA's s
e2e_radseg_DATASET[_low|_mid|_high]   by our config, at that resolution
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import CONFIGS, load_config
from ...picture.segmentor import OpenVocabSegmentor
from ...towers.adaptor import adaptor_for
from ...towers.attention import softmax
from .datasets import dataset_named
from .names import Words
from .outcome import CLOSE, Part, differing, gap, thinned
from .reading import Check, File, Group, reads
from .reference import RADIO, Reference
from .segmentors import Looked, Segmented, labels, largest_probability, photo_checks, segmentor
from .visual import Seen, of_tail, visual

EVERY = 7  # row of features within is kept
PROBABILITY = 2e-4  # of the segmentor: cosines times 100, so that rounding is steep
TEACHER = "siglip2"  # whose token our tower puts first
RESOLUTIONS = ("low", "mid", "high")
WORDS: Words = {
    "plain": lambda: of_tail(attention="qk"),
    "corners": lambda: dict(positions="radio_corners"),
    "scale": lambda sharpness: of_tail(attention=dict(type="scra", sharpness=sharpness)),
}


def tokens(seen: Seen) -> Tensor:
    """After the last block, (T, C)."""
    return seen.backbone.tail.tokens(seen.trace)[0]


def order(seen: Seen) -> list[int]:
    """Where their first tokens are among ours."""
    first = seen.reference.radio.TEACHERS.index(TEACHER)
    return [0 if place == first else place + (place < first) for place in range(seen.trace.prefix)]


def patches(seen: Seen) -> Tensor:
    """(1, P, C)"""
    return tokens(seen)[None, seen.trace.prefix :]


def part(told: str, compute: Callable[[Seen], Tensor], seen: Seen) -> Iterator[Part]:
    """Rows (P, D), every seventh."""
    theirs = seen.group[told]
    yield told, gap(thinned(compute(seen), theirs, (0,), EVERY), theirs), CLOSE


def whole(told: str, compute: Callable[[Seen], Tensor], seen: Seen) -> Iterator[Part]:
    """All of it."""
    yield told, gap(compute(seen), seen.group[told]), CLOSE


def features(seen: Seen) -> Tensor:
    """By the adaptor of features, which no method reads."""
    root = f"_feature_projections.{TEACHER}."
    named = seen.reference.radio.radio_state_dict().items()
    state = {name.removeprefix(root): tensor.to(seen.image) for name, tensor in named if name.startswith(root)}
    adaptor = adaptor_for(state, root).to(seen.image)
    adaptor.load_state_dict(state)
    return adaptor(patches(seen))[0]


def rows(told: str, weights: Callable[[Seen], Tensor], seen: Seen) -> Iterator[Part]:
    """Every 49th row of an attention's maps (heads, T, T), the first tokens in their order."""
    theirs, maps = seen.group[told], weights(seen)
    place = [*order(seen), *range(seen.trace.prefix, maps.shape[-1])]
    yield told, gap(thinned(maps[:, place][:, :, place], theirs, (1,), 49), theirs), CLOSE


def first(seen: Seen) -> Tensor:
    """The block's own attention."""
    t = seen.trace.qkv(-1)
    return softmax(t.q, t.k, t.scale).weights()[0]


def second(seen: Seen) -> Tensor:
    """SCRA's."""
    return seen.backbone.tail.attention(seen.trace.qkv(-1)).weights()[0]


def summaries(seen: Seen) -> Tensor:
    """The class tokens of all teachers that have one, after the trunk."""
    made = seen.reference.radio.radio_checkpoint()["args"].teachers
    places = [place for place, teacher in enumerate(made) if teacher["use_summary"]]
    return tokens(seen)[order(seen)][places].flatten()


visual(
    "radseg",
    dict(type="RADSeg"),
    WORDS,
    {
        "radio": partial(part, "radio", lambda seen: patches(seen)[0]),
        "features": partial(part, "features", features),
        "sam": partial(part, "sam", lambda seen: seen.backbone.tower.for_sam(patches(seen))[0]),
        "summary": partial(whole, "summary", lambda seen: seen.backbone.tower.pooled(tokens(seen)[None])[0]),
        "backbone_summary": partial(whole, "backbone_summary", summaries),
        "first_rows": partial(rows, "first_rows", first),
        "scra_rows": partial(rows, "scra_rows", second),
    },
    radio=True,
)


def radio_segmentor(reference: Reference, dataset: str, resolution: str, **changes: object) -> OpenVocabSegmentor:
    """Our config on a dataset, at a resolution."""
    reference.radio.radio_checkpoint()  # which makes the tower known
    published = load_config(CONFIGS / "radseg.py", dataset).get("published", {}).get(resolution, {})
    options = {f"model.{key}": value for key, value in published.items()}
    options |= {"model.backbone.arch": RADIO, "model.backbone.pretrained": str(reference.radio_weights)}
    return segmentor(reference, "radseg", dataset, options | {"model.backbone.quick_gelu": False} | changes)


class Read(Looked):
    """A photo through the segmentor."""

    def __call__(self) -> Segmented:
        model, picture = self.model, self.picture
        maps = model.refine(model.score(picture), picture)
        classes = model.labelling.probabilities(maps)
        return Segmented(model.label(maps, picture), maps, classes, classes, PROBABILITY)


def after(compare: Callable, seen: Callable[[], Read], group: Group) -> Iterator[Part]:
    """What any segmentor's labels and probabilities are held against."""
    yield from compare(cache(seen()), group)


def probabilities(seen: Callable[[], Read], group: Group) -> Iterator[Part]:
    """Of all classes, every 64th pixel."""
    theirs = group["prob"]
    yield "probabilities", gap(thinned(seen()().published, theirs, (1, 2), 64), theirs), PROBABILITY


def largest(seen: Callable[[], Read], group: Group) -> Iterator[Part]:
    """Of each class."""
    yield "largest of each class", gap(seen()().published.amax((1, 2)), group["classmax"]), PROBABILITY


def size(seen: Callable[[], Read], group: Group) -> Iterator[Part]:
    """Of the network's input, whichever is meant: before or after the rounding to the stride."""
    picture, theirs = seen().picture, group["size"]
    sizes = [torch.tensor(image.shape[1:]) for image in (picture.image, picture.fitted)]
    yield "wrong sides", min(differing(ours, theirs) for ours in sizes), 0.0


MAPS = {
    "label": partial(after, labels),
    "maxprob": partial(after, largest_probability),
    "prob": probabilities,
    "classmax": largest,
    "size": size,
}


@reads("e2e_radseg_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset."""
    resolution = next((word for word in RESOLUTIONS if called.endswith(f"_{word}")), "")
    dataset = dataset_named(called.removesuffix(f"_{resolution}") if resolution else called)
    model = cache(lambda: radio_segmentor(reference, dataset, resolution or "mid"))
    title = f"radseg on {called}"
    for key, compare in (("text", bank), ("strings", strings)):
        if key in file:
            yield Check("end to end", title, [key], partial(compare, file, model))

    def see(photo: Path) -> Read:
        return Read(model(), photo)

    yield from photo_checks(reference, file, title, see, MAPS, aside=("strings",))


def bank(file: File, model: Callable[[], OpenVocabSegmentor]) -> Iterator[Part]:
    """Theirs are means of unit features, whose length is nothing to a cosine."""
    theirs = file["text"] / np.linalg.norm(file["text"], axis=1, keepdims=True)
    yield "text bank", gap(F.normalize(model().text.features, dim=1), theirs), CLOSE


def strings(file: File, model: Callable[[], OpenVocabSegmentor]) -> Iterator[Part]:
    """What each class is asked for by."""
    pairs = zip(model().vocabulary.queries, file["strings"].tolist(), strict=True)
    yield "wrong strings", float(sum(ours != theirs for ours, theirs in pairs)), 0.0
