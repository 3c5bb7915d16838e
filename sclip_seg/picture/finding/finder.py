"""Words found in pictures: their patches in clusters, the clusters named (`naming`), what is hardly there left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import InputError
from ...registry import REGIONS
from ...settings import Count, Share, checked
from ...words.lists import WordList, word_list
from ...words.read import split_words
from ...words.templates import templates as template_set
from ...words.text import TextBank
from ..segmentor import OpenVocabSegmentor
from .clusters import FOLDER, PICTURE, clusters
from .naming import (
    Attributes,
    Named,
    attribute_scores,
    candidates,
    nearest_names,
    realigned,
    rounds,
    vote_shares,
    votes,
)
from .samples import Samples, neutral, samples_of

TEXT_BANK = "work_dirs/text_bank"
MOST, OF_PICTURE = 20_000, 2_000  # samples that are looked at, of all and of one; of more, as many evenly taken
AUTO = "auto"


@dataclass(frozen=True)
class FoundWord:
    """A word, the share of all pixels that is nearest to it, and which share of these voted for it among all words."""

    name: str
    share: float
    certainty: float
    synonyms: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.share:.0%} (sure {self.certainty:.0%})"


@dataclass(frozen=True)
class FoundWords:
    """What was found, the largest share first; `told` is among which words and how, for a signature."""

    words: tuple[FoundWord, ...]
    told: str

    @property
    def classes(self) -> list[list[str]]:
        """A vocabulary: the queries of each word."""
        return [[word.name, *word.synonyms] for word in self.words]

    def __str__(self) -> str:
        return ", ".join(map(str, self.words))

    def plain(self) -> dict:
        """As plain data."""
        return {"how": self.told, "words": [vars(word) for word in self.words]}


@checked
@dataclass(frozen=True)
class AutoWords:
    """Words are to be found, and how.

    Args:
        words: the list that they are among: 'benchmarks', 'imagenet', a shipped vocabulary's name, a file, or several
            joined by '+' (`word_list`).
        also: words that are looked for whatever is found, with synonyms after ';'.
        drop: words of the list that are not taken.
        clusters: how many; None is 12 for one picture and 64 for several.
        least: words that a smaller share of all pixels voted for are left out.
        templates: that the list is encoded under; name of a set, or a list of templates.
        regions: config of a `RegionProvider`, or its name: samples are regions; None: patches.
        definitions: the last round matches by WordNet's definitions of the words, which stand for S3A's language
            model; an experiment, and of the list 'imagenet'.
    """

    words: str = "benchmarks"
    also: Sequence[str] = ()
    drop: Sequence[str] = ()
    clusters: Count | None = None
    least: Share = 0.01
    templates: str | Sequence[str] = "photo"
    regions: dict | str | None = None
    definitions: bool = False


def auto_words(words: object) -> AutoWords | None:
    """How words are to be found, where they are: `words` is `AutoWords`, or 'auto', which are its defaults."""
    if isinstance(words, str) and words.strip() == AUTO:
        return AutoWords()
    return words if isinstance(words, AutoWords) else None


@dataclass
class Finder:
    """Finds words with a model. What was encoded is kept, by the list and its templates, here and on disk."""

    model: OpenVocabSegmentor
    how: AutoWords = field(default_factory=AutoWords)
    banks: dict[object, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.list = word_list(self.how.words)
        self.kept = self.list.without(self.how.drop)
        also = split_words(self.how.also) if self.how.also else []
        self.also = {queries[0].lower(): tuple(queries) for queries in also}
        known = {word.lower() for word in self.kept.words}
        self.words = [*self.kept.words, *(queries[0] for key, queries in self.also.items() if key not in known)]
        self.templates = template_set(self.how.templates)
        self.provider = None if self.how.regions is None else REGIONS.build(self.how.regions)
        if self.provider is not None:
            self.model.data_preprocessor.keep_original = True
        if self.how.definitions and not self.list.definitions:
            raise InputError(f"definitions are known of the words of 'imagenet', and not of {self.list.name!r}")

    @property
    def told(self) -> str:
        """Among which words, and how."""
        how, name = self.how, self.how.templates
        settings = {"templates": name if isinstance(name, str) else "own", "least": f"{how.least:g}"}
        settings |= {"clusters": str(how.clusters)} if how.clusters else {}
        settings |= {"also": ";".join(self.also)} if self.also else {}
        settings |= {"regions": self.provider.told} if self.provider else {}
        settings |= {"definitions": "yes"} if how.definitions else {}
        return f"auto[{self.kept.told},{','.join(f'{key}={value}' for key, value in settings.items())}]"

    def look(self, images: Sequence[Tensor], samples: Sequence[SegDataSample]) -> list[Samples]:
        """Of each normalised picture (3, h, w). Its sample is as `OpenVocabSegmentor.look` takes it."""
        neutral(self.model)
        pairs = zip(images, samples, strict=True)
        looked = (samples_of(self.model, image, sample, self.provider) for image, sample in pairs)
        return [samples.thinned(OF_PICTURE) for samples in looked]

    def find(self, looked: Sequence[Samples]) -> FoundWords:
        """The words of all these pictures together, at least one."""
        if not looked:
            raise InputError("there is no picture that words could be found in")
        count = self.how.clusters or (PICTURE if len(looked) == 1 else FOLDER)
        samples = Samples.joined(looked).thinned(MOST)
        area, bank = samples.area.double().numpy(), self.bank()
        vote = votes(samples.features, bank)
        named = rounds(samples.features, bank, clusters(samples, count), area, vote)[-1]
        if self.how.definitions:
            named = self._by_definitions(samples, bank, area, vote, named)
        return self._told(samples, bank, area, vote, self._enough(named, area, vote))

    def bank(self) -> Tensor:
        """Unit features (V, D) of the words that may be taken."""
        gone = {word.lower() for word in self.how.drop}
        rows = [row for row, word in enumerate(self.list.words) if word.lower() not in gone]
        more = tuple(self.words[len(rows) :])
        own = [self._encoded(self.list)[rows], *([self._encoded(WordList("also", more))] if more else [])]
        return torch.cat(own)

    def _enough(self, named: Named, area: np.ndarray, vote: np.ndarray) -> np.ndarray:
        """The names that enough pixels voted for, the one with the most where none has; and those looked for anyway."""
        voted = np.array([area[vote == name].sum() for name in named.names]) / area.sum()
        enough = voted >= self.how.least
        names = named.names[enough] if enough.any() else named.names[[voted.argmax()]]
        return np.union1d(names, [row for row, word in enumerate(self.words) if word.lower() in self.also])

    def _told(
        self, samples: Samples, bank: Tensor, area: np.ndarray, vote: np.ndarray, names: np.ndarray
    ) -> FoundWords:
        names = names.astype(int)
        own = names[nearest_names(samples.features, bank, names)]
        found = []
        for name in names:
            mine, word = own == name, self.words[name]
            total = area[mine].sum()
            sure = area[mine & (vote == name)].sum() / total if total else 0.0
            queries = self.also.get(word.lower(), (word,))
            found.append(FoundWord(queries[0], float(total / area.sum()), float(sure), queries[1:]))
        return FoundWords(tuple(sorted(found, key=lambda word: -word.share)), self.told)

    def _by_definitions(
        self, samples: Samples, bank: Tensor, area: np.ndarray, vote: np.ndarray, named: Named
    ) -> Named:
        cluster = np.unique(named.own, return_inverse=True)[1]
        chosen = candidates(vote_shares(vote, cluster, area, len(bank)))
        texts = [[self._defined(word) for word in own] for own in chosen]
        distinct = sorted({text for own in texts for of_word in own for text in of_word})
        encoded = dict(zip(distinct, self._encoded(WordList("definitions", tuple(distinct)), ("{}",)), strict=True))
        scores = []
        for number, own in enumerate(texts):
            pairs = [(place, text) for place, of_word in enumerate(own) for text in of_word]
            attributes = Attributes(
                torch.stack([encoded[text] for _, text in pairs]),
                np.array([place for place, _ in pairs]),
                np.ones(len(pairs)),
            )
            scores.append(attribute_scores(samples.features[cluster == number], attributes, len(own)))
        return realigned(samples.features, bank, chosen, scores)

    def _defined(self, word: int) -> tuple[str, ...]:
        """The definitions of a word; itself where there is none."""
        name = self.words[word]
        return self.list.definitions.get(name, (name,))

    def _encoded(self, words: WordList, templates: Sequence[str] | None = None) -> Tensor:
        templates = self.templates if templates is None else tuple(templates)
        key = words.words, templates, self.model.precision
        if key not in self.banks:
            self.model.settle()
            encode: Callable[..., TextBank] = partial(self.model.encoder(self.model.backbone, {}), templates=templates)
            encode = partial(encode, cache=self.model.text_cache or TEXT_BANK)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of words of a list that nobody typed
                like = next(self.model.backbone.parameters())
                self.banks[key] = encode(words.vocabulary).features.to(like.device)
        return self.banks[key]
