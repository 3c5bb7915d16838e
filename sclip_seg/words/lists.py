"""Long lists of words, of which those that a picture needs are found (`picture/finding`).

`imagenet`: the first lemma of each of ImageNet's 21,844 synsets, 20,102 words, with WordNet's definitions; timm has
them. `benchmarks`: the classes of all shipped vocabularies, a few hundred words, those for stuff such as sky among
them. Or the first words of a shipped vocabulary's classes, by its name; or a file, a word a line (`Vocabulary`).
Several are joined by `+`: `imagenet+benchmarks`.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from ..errors import InputError
from ..handed_in import existing
from .vocabulary import Vocabulary, shipped

NAMES = ("benchmarks", "imagenet")
SUBSETS = ("imagenet-22k", "imagenet-21k-goog", "imagenet-1k")  # of timm's; together they have every synset


@dataclass(frozen=True)
class WordList:
    """Distinct words, and what some of them mean, a definition for each synset."""

    name: str
    words: tuple[str, ...]
    definitions: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def told(self) -> str:
        """Name and digest, for the signature."""
        content = "\n".join(self.words)
        return f"{self.name}#{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def vocabulary(self) -> Vocabulary:
        """The words as classes of one query each."""
        return Vocabulary(self.name, tuple((word,) for word in self.words))

    def without(self, dropped: Iterable[str]) -> WordList:
        """The same list without some words, in capitals or not. Raises InputError where none is left."""
        gone = {word.lower() for word in dropped}
        kept = tuple(word for word in self.words if word.lower() not in gone)
        if not kept:
            raise InputError(f"no word of {self.name} is left")
        return self if kept == self.words else WordList(f"{self.name}-{len(gone)}", kept, self.definitions)


def word_list(spec: str) -> WordList:
    """The list of that name, the file at that path, or several joined by `+`. Raises InputError."""
    specs = [spec] if existing(spec).is_file() else spec.split("+")
    parts = [_one(part.strip()) for part in specs]
    if len(parts) == 1:
        return parts[0]
    words = _distinct(word for part in parts for word in part.words)
    definitions = {word: told for part in parts for word, told in part.definitions.items()}
    return WordList("+".join(part.name for part in parts), words, definitions)


def _one(spec: str) -> WordList:
    if spec == "imagenet":
        return imagenet()
    if spec == "benchmarks":
        return benchmarks()
    if "/" not in spec and not spec.endswith(".txt") and spec not in shipped():
        raise InputError(
            f"no list of words is called {spec!r}; there are {', '.join(NAMES)}, those of the shipped vocabularies "
            "by their names, or a file, FILE.txt"
        )
    own = Vocabulary.load(spec)
    return WordList(own.name, _distinct(name for name in own.names if name != "background"))


@cache
def imagenet() -> WordList:
    """First lemmas, in the order of their synsets' numbers."""
    from timm.data import ImageNetInfo

    lemmas: dict[str, str] = {}
    detailed: dict[str, str] = {}
    for info in map(ImageNetInfo, SUBSETS):
        lemmas |= info.label_descriptions(as_dict=True)
        detailed |= info.label_descriptions(detailed=True, as_dict=True)
    told: dict[str, list[str]] = {}
    for synset in sorted(lemmas):
        word = lemmas[synset].split(",")[0].strip()
        told.setdefault(word, []).append(detailed[synset].removeprefix(f"{lemmas[synset]}: "))
    return WordList("imagenet", tuple(told), {word: tuple(texts) for word, texts in told.items()})


@cache
def benchmarks() -> WordList:
    """The names of the classes, without what follows a comma, `-other` and `-stuff`; words in one are written apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of queries in two classes
        names = [name for own in shipped() for name in Vocabulary.load(own).names]
    plain = (re.sub(r"-(other|stuff)$", "", name.lower().split(",")[0]).replace("-", " ").strip() for name in names)
    spelt: dict[str, str] = {}
    for name in plain:
        letters = name.replace(" ", "")
        if " " in name or letters not in spelt:
            spelt[letters] = name
    return WordList("benchmarks", tuple(sorted(name for name in spelt.values() if name != "background")))


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    """In their order; in capitals or not is one word to a tokenizer."""
    found: dict[str, str] = {}
    for word in words:
        found.setdefault(word.lower(), word)
    return tuple(found.values())
