"""Auxiliary texts: a definition or a synonym of each class, blended into its queries (ITACLIP)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError
from ..handed_in import composed, existing, read_text
from .text import TextBank
from .vocabulary import Vocabulary, near_names

FOLDER = Path(__file__).parent / "auxiliary"
NO_TEXT = "-"


@dataclass(frozen=True)
class AuxiliaryTexts:
    """One text for each of K classes, or None, and α, its weight beside the class's own queries.

    File format: UTF-8, one class a line in class order, `-` for none; lines that start with "#" are comments.
    """

    name: str
    texts: tuple[str | None, ...]
    weight: float

    @classmethod
    def load(cls, texts: str, weight: float) -> "AuxiliaryTexts":
        """From a shipped name or the path of a .txt file. Raises InputError."""
        if not 0 <= weight <= 1:
            raise InputError(f"the weight of the auxiliary texts is {weight}; it lies between 0 and 1")
        path = existing(texts) if texts.endswith(".txt") else FOLDER / f"{texts}.txt"
        if not path.is_file():
            shipped = sorted(file.stem for file in FOLDER.glob("*.txt"))
            raise InputError(f"there are no auxiliary texts {texts!r}{near_names(texts, shipped)}")
        text = composed(read_text(path, "the file of auxiliary texts"))
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if not line.startswith("#")]
        if "" in lines:
            raise InputError(f"auxiliary texts {path}: class {lines.index('')} has an empty line; write - for none")
        return cls(path.stem, tuple(None if line == NO_TEXT else line for line in lines), weight)

    @property
    def digest(self) -> str:
        """Twelve hex digits over the texts and their order."""
        return hashlib.sha256("\n".join(text or NO_TEXT for text in self.texts).encode()).hexdigest()[:12]

    def check(self, vocabulary: Vocabulary) -> None:
        """Raises InputError when the vocabulary has more or fewer classes."""
        if len(self.texts) != len(vocabulary):
            raise InputError(
                f"the auxiliary texts {self.name} are for {len(self.texts)} classes, and the vocabulary "
                f"{vocabulary.name} has {len(vocabulary)}"
            )

    @property
    def vocabulary(self) -> Vocabulary:
        """The texts that there are, as queries of a vocabulary of their own."""
        return Vocabulary(self.name, tuple((text,) for text in self.texts if text))

    def blend(self, bank: TextBank, own: TextBank) -> TextBank:
        """t = (1 - α) t_name + α t_auxiliary for the queries of classes that have a text; no longer of unit length.

        `bank` holds the queries, `own` the features of `vocabulary`.
        """
        row = iter(range(len(own.features)))
        of_class = [next(row) if text else -1 for text in self.texts]
        of_query = torch.tensor(of_class, device=bank.owner.device)[bank.owner]
        share = self.weight * (of_query >= 0).float()[:, None]
        features = (1 - share) * bank.features + share * own.features[of_query]
        return TextBank(features, bank.owner, bank.classes)
