"""Experts: of each class the templates that were surest of it on unlabelled pictures (FLOSS, arXiv 2504.10487)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import write_atomically
from ..handed_in import existing, read_text
from .vocabulary import Vocabulary

KEYS = {"vocabulary", "templates", "ranked", "made_with"}


@dataclass(frozen=True)
class Experts:
    """Numbers of templates, the surest first, of each class of a vocabulary, or of each of its queries.

    `vocabulary` is its digest and `templates` the templates themselves, where known; `made_with` says how.
    """

    ranked: tuple[tuple[int, ...], ...]
    vocabulary: str | None = None
    templates: tuple[str, ...] | None = None
    made_with: str = ""

    @classmethod
    def load(cls, spec: str | Sequence[Sequence[int]]) -> "Experts":
        """From a file that `sclip-seg rank-templates` wrote, or from the numbers. Raises InputError."""
        if not isinstance(spec, str):
            return cls(tuple(tuple(row) for row in spec))
        path = existing(spec)
        if not path.is_file():
            raise InputError(f"the file of experts {spec} is missing; sclip-seg rank-templates writes one")
        try:
            content = json.loads(read_text(path, "the file of experts"))
        except json.JSONDecodeError as error:
            raise InputError(f"{path} is no file of experts: {error}") from error
        if not isinstance(content, dict) or set(content) != KEYS:
            raise InputError(f"{path} is no file of experts: it has not the keys {', '.join(sorted(KEYS))}")
        ranked, templates = content["ranked"], content["templates"]
        if not isinstance(ranked, dict) or not all(is_numbers(row) for row in ranked.values()):
            raise InputError(f"{path}: 'ranked' must have a list of numbers of templates for each class")
        if not isinstance(templates, list) or not all(isinstance(template, str) for template in templates):
            raise InputError(f"{path}: 'templates' must be a list of texts")
        made_with = str(content["made_with"])
        return cls(tuple(map(tuple, ranked.values())), str(content["vocabulary"]), tuple(templates), made_with)

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Writes the file, with the names of the classes."""
        names = [f"{index} {name}" for index, name in enumerate(vocabulary.names)]
        content = {
            "made_with": self.made_with,
            "vocabulary": self.vocabulary,
            "templates": self.templates,
            "ranked": dict(zip(names, self.ranked, strict=True)),
        }
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @property
    def digest(self) -> str:
        """Twelve hex digits over the ranking and what it is of."""
        content = json.dumps([self.ranked, self.vocabulary, self.templates], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def check(self, vocabulary: Vocabulary, templates: Sequence[str]) -> None:
        """Raises InputError where the experts are of other words or templates, or a class has none."""
        if self.vocabulary not in (None, vocabulary.digest):
            raise InputError(f"the experts were ranked for other words than those of the vocabulary {vocabulary.name}")
        if self.templates not in (None, tuple(templates)):
            raise InputError("the experts were ranked among other templates than the model's")
        if len(self.ranked) not in (len(vocabulary), len(vocabulary.queries)):
            raise InputError(
                f"there are experts for {len(self.ranked)} classes, and the vocabulary {vocabulary.name} has "
                f"{len(vocabulary)}"
            )
        for index, row in enumerate(self.ranked):
            if not row or not is_numbers(row) or max(row) >= len(templates):
                raise InputError(
                    f"the experts of class {index} are {list(row)}: numbers of templates, 0 to {len(templates) - 1}, "
                    "one at least; a class that no template ever answered has none, and more pictures may mend it"
                )

    def of_queries(self, owner: Sequence[int], top: int) -> list[list[int]]:
        """The first templates of each query: its own, or its class's."""
        rows = self.ranked if len(self.ranked) == len(owner) else [self.ranked[index] for index in owner]
        return [list(row[:top]) for row in rows]


def is_numbers(row: object) -> bool:
    """Whether it is a list of whole numbers from 0."""
    return isinstance(row, list | tuple) and all(type(number) is int and number >= 0 for number in row)
