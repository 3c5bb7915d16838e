"""A method made ready for pictures and words of one's own: `sclip_seg.load`.

    seg = sclip_seg.load("sclip", backbone="openai_vit_b16")
    found = seg("picture.jpg", ["cat", "dog; puppy"], background=["wall", "floor"])
    found.labels, found.scores, found.classes
    found.figure("picture.jpg").save("overlay.png")
    print(seg("picture.jpg", "auto").found)

The words may change from call to call; the tower stays. "auto" finds them in the picture, among a list (`AutoWords`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from ..bars import Bar
from ..config import WORDS, load_config
from ..data.datasets import colours_of
from ..data.loading import read_picture
from ..drawing import figure, shares
from ..errors import InputError
from ..picture.finding.finder import AutoWords, Finder, FoundWords, auto_words
from ..picture.scores import DenseMaps, Labelling, StitchedMaps
from ..picture.segmentor import OpenVocabSegmentor
from ..towers.together import once
from ..words.read import read_words
from .arguments import check_block, check_load, check_points, check_stream
from .attention_row import AttentionRow, rows_across, rows_within
from .building import built, place
from .masks import certainty, detections, masks

if TYPE_CHECKING:
    from supervision import Detections

Picture = str | Path | Image.Image | np.ndarray
Words = str | Path | Sequence[str | Sequence[str]] | AutoWords
BACKGROUND = "background"
BATCH = 4  # pictures that are held at a time; neighbours of one size share the trunk's batches


@dataclass(frozen=True)
class Prediction:
    """What was found in a picture (H, W).

    `labels` (H, W) int64: for each pixel the index of its class; `classes`: their K names; `palette`: K colours RGB;
    `background`: the index of the background class, or None; `found`: how the words were found, where nobody gave them.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    palette: list[list[int]]
    background: int | None
    queries: tuple[str, ...]
    maps: StitchedMaps | DenseMaps = field(repr=False)
    labelling: Labelling = field(repr=False)
    found: FoundWords | None = None

    @cached_property
    def scores(self) -> np.ndarray:
        """Probability of each class at each pixel, (K, H, W) fp32 in [0, 1]; computed when first asked for."""
        return self.labelling.probabilities(self.maps).cpu().numpy()

    @cached_property
    def cosines(self) -> np.ndarray:
        """Score maps of the queries, (Q, H, W) fp32: cosines with the pixels' features, refined if the method does."""
        return self.maps.dense().cpu().numpy()

    @cached_property
    def certainty(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each pixel's own class, and of its best one, (H, W) fp32 each; all `scores` are never held."""
        return certainty(self.labelling, self.maps, self.labels)

    def masks(self) -> list[dict]:
        """`{label, score, mask}` of each class that has pixels, as transformers' pipelines give them.

        The score is the class's mean probability on its pixels, the mask a PIL picture (mode L, 0 and 255).
        """
        return masks(self.labels, self.certainty[0], self.classes)

    def detections(self) -> "Detections":
        """supervision's type, one entry a class, without the background. Raises InputError where it is missing."""
        return detections(self.labels, self.certainty[0], self.classes, self.background)

    def figure(self, picture: Picture) -> Image.Image:
        """The picture that this was found in, under its classes' colours, over a legend with their shares.

        Raises InputError for a picture of another size.
        """
        pixels = read_picture(picture)[..., ::-1]
        if pixels.shape[:2] != self.labels.shape:
            sizes = [f"{width} x {height}" for height, width in (pixels.shape[:2], self.labels.shape)]
            raise InputError(f"the picture is {sizes[0]} pixels, and this was found in one of {sizes[1]}")
        return figure(pixels, self.labels, self.classes, self.palette, self.background)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels that each class has, in [0, 1], of those that have any; the largest first."""
        return {self.classes[c]: share for c, share in shares(self.labels, len(self.classes)) if share}


class Predictor:
    """Pictures and words in, labels and scores out. `model` is the `OpenVocabSegmentor` that computes them.

    `config`: what it was built from, by `load`.
    """

    def __init__(self, model: OpenVocabSegmentor, has_words: bool = True, config: Config | None = None) -> None:
        self.model, self.config = model.eval(), config
        self.classes, self.palette = self._named(), self.model.dataset_meta["palette"]
        self.has_words = has_words
        self.found: FoundWords | None = None
        self.lists: dict[object, torch.Tensor] = {}  # lists of words that were encoded
        if has_words and config is not None:  # people know Cityscapes' roads by their colour
            self.palette = colours_of(config.test_dataloader.dataset, len(self.classes)) or self.palette

    def __call__(
        self, pictures: Picture | Sequence[Picture], words: Words | None = None, background: Words | None = None
    ) -> Prediction | list[Prediction]:
        """The prediction for a picture, or a list of them for a list; `stream` holds only a few of many pictures.

        Args:
            pictures: paths, PIL pictures, or arrays (H, W, 3) uint8 RGB; of any sizes.
            words, background: as in `set_words`; None keeps those before. 'auto', or `AutoWords`: as in `find_words`.
        Raises:
            InputError: a picture that cannot be read, no words, a value of another type.
        """
        if (how := auto_words(words)) is not None:
            self.find_words(pictures if isinstance(pictures, list | tuple) else [pictures], how, background)
        elif words is not None:
            self.set_words(words, background)
        elif background is not None:
            raise InputError("background words need the words of the classes beside them")
        if isinstance(pictures, list | tuple):
            return list(self.stream(pictures))
        return next(self.stream([pictures]))

    def set_words(self, words: Words, background: Words | None = None) -> None:
        """Other classes from now on; the tower stays, and only words that were never asked for are encoded.

        Args:
            words: one entry a class, its synonyms separated by ';', as a list or in one text separated by commas:
                `["cat", "dog; puppy"]`, `"cat, dog; puppy"`; or the path of a class file, as a vocabulary is
                (`Vocabulary`).
            background: words of one class more, "background", which becomes class 0.
        Raises:
            InputError: empty words, or two classes of one name; the words before stay then.
        """
        classes = read_words(words)
        if background is not None:
            classes.insert(0, [word for entry in read_words(background) for word in entry])
        names = [queries[0] for queries in classes]
        if background is not None:
            names[0] = BACKGROUND
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"two classes are called {twice[0]!r}: the first word of a class is its name")
        self.model.set_vocabulary(classes, background=None if background is None else 0)
        self.classes, self.palette = self._named(), self.model.dataset_meta["palette"]
        self.has_words, self.found = True, None

    def find_words(
        self, pictures: Iterable[Picture], how: AutoWords | None = None, background: Words | None = None
    ) -> FoundWords:
        """The words that all these pictures together are made of, which are looked for from now on.

        Raises InputError, and then there are no words.
        """
        self.forget_words()
        how = how or AutoWords()
        if background is not None:
            others = [word for entry in read_words(background) for word in entry]
            how = replace(how, drop=[*how.drop, *others])
        finder, looked = Finder(self.model, how, self.lists), []
        for picture in pictures:
            looked += finder.look(*self.model.data_preprocessor.of_pictures([_read(picture)]))
        found = finder.find(looked)
        self.set_words(found.classes, background)
        self.found = found
        return found

    def forget_words(self) -> None:
        """No words from now on, until others are given: enough for the attention of methods without feedback."""
        self.has_words = False

    def _named(self) -> tuple[str, ...]:
        names, background = list(self.model.vocabulary.names), self.model.labelling.background
        if background is not None:
            names[background] = BACKGROUND
        return tuple(names)

    def stream(self, pictures: Iterable[Picture]) -> Iterator[Prediction]:
        """Predictions one after the other; a few pictures at a time are read and held."""
        if not self.has_words:
            raise InputError("no words: say what to look for, e.g. seg(picture, ['cat', 'dog'])")
        check_stream(pictures)
        part = []
        for picture in pictures:
            try:
                part.append(_read(picture))
            except InputError:
                yield from self._predict(part)  # those before the one that cannot be read
                raise
            if len(part) == BATCH:
                yield from self._predict(part)
                part = []
        yield from self._predict(part)

    @torch.no_grad()
    def _predict(self, pictures: list[np.ndarray]) -> Iterator[Prediction]:
        model = self.model
        model.prepare()
        inputs, samples = model.data_preprocessor.of_pictures(pictures)
        for labels, maps in model.segment(inputs, samples):
            yield Prediction(
                labels=labels.cpu().numpy(),
                classes=self.classes,
                palette=self.palette,
                background=model.labelling.background,
                queries=model.vocabulary.queries,
                maps=maps,
                labelling=model.labelling,
                found=self.found,
            )

    @torch.no_grad()
    def attention(
        self, picture: Picture, points: Sequence[tuple[int, int]], block: int = -1, whole: bool = False
    ) -> list[AttentionRow]:
        """What points (y, x) of a picture, in its pixels, look at in a block, by the code that computes the scores.

        A point lies in several windows: shown is the one whose middle it is nearest to, and every window where the
        method looks across them in its last block (`AttentionRow.across`). `whole`: the picture is read as one window.
        Block -1 is the last one; before it, methods look as CLIP was trained, but along a second path.

        Raises InputError for a point outside the picture or a block that the tower has not.
        """
        picture = _read(picture)
        height, width = picture.shape[:2]
        points = check_points(points)
        check_block(block)
        for y, x in points:
            if not (0 <= y < height and 0 <= x < width):
                raise InputError(f"the point x={x}, y={y} lies outside the picture, {width} wide and {height} high")
        model = self.model
        if self.has_words:
            model.prepare()
        model.settle()
        inputs, samples = model.data_preprocessor.of_pictures([picture])
        if points and model.backbone.tail.looks_across and not whole and model.backbone.is_last(block):
            (looked,) = model.look(inputs, samples)
            return rows_across(model, looked, points)
        text = model.text if self.has_words else None
        return rows_within(model, model.fitted(inputs[0]), (height, width), points, text, block, whole)


def _read(picture: Picture) -> np.ndarray:
    return once("picture", picture, compute=partial(read_picture, picture))


def load(
    method: str | Path = "sclip",
    backbone: str = "openai_vit_b16",
    dataset: str | None = None,
    device: str | torch.device | None = None,
    options: dict | None = None,
) -> Predictor:
    """A method with a backbone, both by the names of their config files (`sclip-seg list`).

    Args:
        method: a name, or the path of a config of one's own.
        backbone: a name, a config's path, or a tower of open_clip's: ARCH/TAG, `hf-hub:OWNER/NAME`, `local-dir:FOLDER`.
        dataset: a benchmark, whose words, thresholds and sizes are taken; None: the caller's words, and the method's
            own protocol without anything of a benchmark.
        device: a name that torch knows, e.g. 'cpu'; None is the fastest at hand.
        options: settings on top, as `--cfg-options` of `sclip-seg test`: `{"model.precision": "bf16"}`.
    Raises:
        InputError: a name that does not exist, weights or a device that cannot be had, settings that do not fit.
    """
    check_load(method, backbone, dataset, device, options)
    settings = {"model.text_cache": None, **(options or {})}
    with Bar(total=3, desc=f"loading {backbone}", unit="part", leave=False) as bar:
        config = load_config(method, dataset or WORDS, backbone, settings)
        bar.update()
        model = built(config)
        bar.update()
        place(model, device)
        bar.update()
    return Predictor(model, has_words=dataset is not None, config=config)
