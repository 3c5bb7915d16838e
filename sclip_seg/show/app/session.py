"""What the page computes: a picture and words in, labels and attention out. It knows no page."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ...data.loading import read_picture
from ...errors import InputError
from ...evaluate.remember_region import check_made, remembering, with_region
from ...evaluate.remembered import tail_of, wordless
from ...picture.finding.finder import AutoWords, FoundWords
from ...registry import Parts, one_of_each
from ...towers.together import Together, sharing
from ...words.read import split_words
from ..heat import heat
from ..predictor import Prediction, Predictor, load
from .examples import LISTS
from .found import Found

if TYPE_CHECKING:
    from ...regions.memory import RegionMemory

LONG_SIDE = 2048  # pixels; larger pictures are scaled down, since labels are computed at the picture's own size
PACKAGE = Path(__file__).parents[2]
KEPT = 4  # models in memory
MOST_CHARACTERS, MOST_WORDS = 20_000, 2_000  # of words and background words together
WEIGHT = 0.5  # of a memory beside the words
Report = Callable[[float, str], None]


def silent(share: float, text: str) -> None:
    """Reports to nobody."""


@dataclass(frozen=True)
class Wish:
    """What is asked for: `words` and `background` as typed, methods and a backbone by name.

    `memories`: what was remembered, by method; a result with one is few-shot. `weight`: theirs beside the words.
    """

    words: str
    background: str
    methods: tuple[str, ...]
    backbone: str
    memories: Mapping[str, RegionMemory] = field(default_factory=dict)
    weight: float = WEIGHT

    @property
    def classes(self) -> tuple[list[list[str]], list[str] | None]:
        """Queries of each class and those of the background, None without. Raises InputError; reads no file."""
        words = split_words(self.words)
        if not self.background.strip():
            return words, None
        return words, [query for queries in split_words(self.background) for query in queries]


@dataclass(frozen=True)
class Picture:
    """`pixels` (H, W, 3) uint8 RGB as they are worked on; `size` (height, width): of the file; `told` while reading."""

    pixels: np.ndarray
    size: tuple[int, int]
    told: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Its size, whether it was scaled down, and what was told of how it was read."""
        (height, width), (h, w) = self.size, self.pixels.shape[:2]
        note = f"The picture is {width} x {height} pixels"
        return [f"{note}." if (h, w) == self.size else f"{note}; it is scaled down to {w} x {h}.", *self.told]

    def at(self, x: float, y: float) -> tuple[int, int]:
        """The point (y, x) of the pixels for one of the file's."""
        point = np.array([y, x]) * self.pixels.shape[:2] / self.size
        return tuple(point.astype(int).tolist())


@dataclass(frozen=True)
class Look:
    """What a point looks at under a method: a picture of it (H, W, 3), or why there is none."""

    method: str
    image: np.ndarray | None
    reason: str = ""


class Session:
    """Pictures and words in, labels and attention out; the last few models stay in memory. One caller at a time.

    Further ones wait for `turn`.
    """

    def __init__(self, device: str | None = None, kept: int = KEPT) -> None:
        self.device, self.kept, self.turn = device, kept, threading.RLock()
        self.models: OrderedDict[tuple[str, str], Predictor] = OrderedDict()
        self.parts = Parts()

    def model(self, method: str, backbone: str) -> Predictor:
        """The model of a method, built unless it is one of the last few."""
        key = method, backbone
        if key not in self.models:
            while len(self.models) >= self.kept:
                self.models.popitem(last=False)
            with one_of_each(self.parts):  # methods of one backbone have one tower
                self.models[key] = load(method, backbone, device=self.device)
        self.models.move_to_end(key)
        return self.models[key]

    def run(self, picture: np.ndarray, wish: Wish, report: Report = silent) -> tuple[list[Found], list[str]]:
        """What each method finds in a picture (H, W, 3) uint8 RGB, and what a user should know about the words."""
        found = []
        with heard() as notes, closing(self._predictions(picture, wish, report)) as predictions:
            for method, prediction in predictions:
                memory = wish.memories.get(method)  # the score maps, which are large, are not kept
                found.append(Found.of(method, prediction, "" if memory is None else memory.described))
        for method in wish.methods if wish.memories else ():
            memory = wish.memories.get(method)
            few = memory and f"{method} is few-shot: {memory.described}, weight {wish.weight:g}."
            notes.append(few or f"{method} remembers nothing: to it the names are words.")
        return found, notes

    def predictions(self, picture: np.ndarray, wish: Wish, report: Report = silent) -> dict[str, Prediction]:
        """By method, with all scores of a picture (H, W, 3) uint8 RGB, which are large."""
        with heard():
            return dict(self._predictions(picture, wish, report))

    def _predictions(self, picture: np.ndarray, wish: Wish, report: Report) -> Iterator[tuple[str, Prediction]]:
        check(wish)
        words, background = wish.classes  # refuses what is wrong with them before models are loaded
        known = [*words, background or []]
        silent = list(dict.fromkeys(name for own in wish.memories.values() for name in wordless(own, known)))
        with self.turn, sharing(Together()):
            for index, method in enumerate(wish.methods):
                report(index / len(wish.methods), f"{method}: loading")
                model, memory = self.model(method, wish.backbone), wish.memories.get(method)
                if memory is not None:
                    check_made(memory, self._made(model))
                with remembering(model.model, memory, wish.weight, silent):
                    model.set_words([*words, *([name] for name in silent)], background)
                    report((index + 0.5) / len(wish.methods), f"{method}: computing")
                    yield method, model(picture)
                model.forget_words()

    def find_words(
        self, picture: np.ndarray, wish: Wish, among: str, report: Report = silent
    ) -> tuple[FoundWords, list[str]]:
        """Words of a list (`AutoWords.words`) that a picture is made of to the first method, and what was told.

        Of the words of the wish, those of the background alone count: they are not found.
        """
        if among not in LISTS:
            raise InputError(f"there is no list of words {str(among)[:60]!r}; there are {', '.join(LISTS)}")
        check(wish)
        with self.turn, heard() as notes:
            report(0.0, f"{wish.methods[0]}: loading")
            model = self.model(wish.methods[0], wish.backbone)
            report(0.3, f"{wish.methods[0]}: words of {among}")
            background = split_words(wish.background) if wish.background.strip() else None
            found = model.find_words([picture], AutoWords(words=among), background)
        return found, notes

    def remember(
        self, picture: np.ndarray, mask: np.ndarray, name: str, wish: Wish, report: Report = silent
    ) -> dict[str, RegionMemory]:
        """The memories of the wish with a region more (`mask` (H, W)), of each of its methods that can remember.

        Raises InputError where none can.
        """
        memories, refused = dict(wish.memories), []
        with self.turn, heard():
            for index, method in enumerate(wish.methods):
                report(index / len(wish.methods), f"{method}: remembering")
                model = self.model(method, wish.backbone)
                made = {"tail": self._made(model)["tail"]}
                try:
                    memories[method] = with_region(memories.get(method), model.model, picture, mask, name, made)
                except InputError as error:
                    refused.append(error)
                model.forget_words()
        if len(refused) == len(wish.methods):
            raise refused[0]
        return memories

    @staticmethod
    def _made(model: Predictor) -> dict[str, str]:
        return {"tower": model.model.backbone.digest, "tail": tail_of(model.config.model)}

    def look(self, picture: np.ndarray, point: tuple[int, int], wish: Wish, report: Report = silent) -> list[Look]:
        """What a point (y, x) of a picture looks at under each method; words are needed by those with feedback only."""
        looks = []
        check(wish)
        with self.turn, heard(), sharing(Together()):
            for index, method in enumerate(wish.methods):
                report(index / len(wish.methods), f"{method}: attention")
                model = self.model(method, wish.backbone)
                if wish.words.strip():
                    background = split_words(wish.background) if wish.background.strip() else None
                    model.set_words(split_words(wish.words), background)
                else:
                    model.forget_words()  # those of a run before are not asked for now
                try:
                    looks.append(Look(method, heat(picture, model.attention(picture, [point])[0])))
                except InputError as error:
                    looks.append(Look(method, None, str(error)))
        return looks


def check(wish: Wish) -> None:
    """Raises InputError for more words than a page that others use as well should compute with."""
    text = f"{wish.words},{wish.background}"
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the words have {len(text) - 1} characters, and this page takes {MOST_CHARACTERS}")
    count = text.count(",") + text.count(";") + 1
    if count > MOST_WORDS:
        raise InputError(f"these are {count} words, and this page takes {MOST_WORDS}")


def told_of(error: Exception) -> str | None:
    """What a visitor is told of a mistake of his, or a limit of the machine; None for a fault of ours."""
    if isinstance(error, InputError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error)):
        return "out of memory: take a smaller picture or a smaller backbone"
    return None


def open_picture(path: str | Path | None, called: str | None = None) -> Picture:
    """The file, scaled down to `LONG_SIDE`. Raises InputError, in words, where there is none or it cannot be read.

    `called`: what it is to a visitor; the file's name unless given.
    """
    if not path:
        raise InputError("there is no picture: upload one, paste one, or take an example")
    called = called or Path(path).name
    if not os.path.isfile(path):
        raise InputError(f"{called} cannot be read as a picture: it is no longer kept here; give it again")
    try:
        with heard() as told:
            pixels = read_picture(path)[..., ::-1]
    except InputError as error:  # its message names the upload's place on this machine, which tells a user nothing
        reason = str(error).rsplit("cannot be read: ", 1)[-1].replace(str(path), called)
        raise InputError(f"{called} cannot be read as a picture: {reason}") from error
    size = pixels.shape[:2]
    scale = LONG_SIDE / max(size)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in size)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    told = [line.replace(str(path), called) for line in told]
    return Picture(np.ascontiguousarray(pixels), size, tuple(told))


def open_upload(path: str | None) -> Picture:
    """The picture that a visitor gave; a file that is used is kept for longer. Raises InputError."""
    picture = open_picture(path)
    os.utime(path)
    return picture


@contextmanager
def heard():
    """Collects what this package warns of, in a list without repetitions."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    # Those of torch and others are not for the user.
    ours = [str(warning.message) for warning in caught if Path(warning.filename).is_relative_to(PACKAGE)]
    notes += dict.fromkeys(text.removeprefix("vocabulary inline: ") for text in ours)
