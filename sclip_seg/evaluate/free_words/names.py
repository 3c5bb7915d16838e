"""How much alike names are: cosines by the model's own text tower, or by a sentence model from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...handed_in import existing, read_text
from ...words.text import TextBank
from ...words.vocabulary import Vocabulary
from .metrics import NOTHING


class Names(Protocol):
    """Who knows what names mean."""

    told: str
    """For the signature."""

    def features(self, names: Sequence[str]) -> Tensor:
        """Unit features (N, D)."""


class TextTower:
    """CLIP's own. Cosines of any two of its texts are large, and so are the metrics that are soft."""

    def __init__(self, encode: Callable[..., TextBank], told: str) -> None:
        self.encode, self.told = encode, told

    def features(self, names: Sequence[str]) -> Tensor:
        """Of the bare names."""
        distinct = list(dict.fromkeys(names))
        bank = self.encode(Vocabulary("names", tuple((name,) for name in distinct)), templates=("{}",)).features
        return bank[[distinct.index(name) for name in names]]


class SentenceModel:
    """A folder with a transformer of transformers' and its tokenizer, such as all-MiniLM-L6-v2: the mean of its tokens.

    Raises InputError.
    """

    def __init__(self, folder: str) -> None:
        self.folder = existing(folder)
        weights = self.folder / "model.safetensors"
        if not weights.is_file():
            raise InputError(f"{folder} is no folder of a sentence model: model.safetensors is missing")
        self.told = f"{self.folder.name}#{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"

    @cached_property
    def parts(self) -> tuple[Callable, Callable]:
        """Tokenizer and model."""
        try:
            from transformers import AutoModel, AutoTokenizer

            own = dict(local_files_only=True, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(self.folder, **own)
            return tokenizer, AutoModel.from_pretrained(self.folder, use_safetensors=True, **own).eval()
        except ImportError as error:
            raise InputError("a sentence model needs transformers: pip install 'sclip_seg[words]'") from error
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{self.folder} is no sentence model: {' '.join(str(error).split())[:200]}") from error

    @torch.no_grad()
    def features(self, names: Sequence[str]) -> Tensor:
        """Padding aside."""
        tokenizer, model = self.parts
        tokens = tokenizer(list(names), padding=True, truncation=True, return_tensors="pt")
        states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
        return F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


class Likeness:
    """Cosines (W, K) of words with the classes; the largest over a class's names."""

    def __init__(self, names: Names, classes: Sequence[Sequence[str]]) -> None:
        self.names, self.classes = names, classes
        self.known: dict[str, Tensor] = {}
        self.own = [names.features(own) for own in classes]

    def __call__(self, words: Sequence[str]) -> np.ndarray:
        if new := [word for word in dict.fromkeys(words) if word not in self.known]:
            self.known.update(zip(new, self.names.features(new), strict=True))
        features = torch.stack([self.known[word] for word in words])
        return torch.stack([(features @ own.T).max(1).values for own in self.own], 1).double().cpu().numpy()


def read_mapping(path: str | Path, classes: Sequence[Sequence[str]]) -> tuple[dict[str, int], str]:
    """Which class each word means, of a file with lines `word: class`, and what the signature says of it.

    Nothing after the colon is the background, or no class. Raises InputError for a class that there is not.
    """
    place = {name.lower(): index for index, names in reversed([*enumerate(classes)]) for name in names}
    found: dict[str, int] = {}
    text = read_text(existing(path), "the mapping of words")
    for number, line in enumerate(text.splitlines(), start=1):
        word, colon, name = (part.strip() for part in line.partition("#")[0].partition(":"))
        if not word and not colon:
            continue
        if not word or not colon or (name and name.lower() not in place):
            raise InputError(f"{path}, line {number}: a line is 'word: class', by the classes' names, not {line!r}")
        found[word.lower()] = place[name.lower()] if name else NOTHING
    return found, f"{Path(path).stem}#{hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:12]}"
