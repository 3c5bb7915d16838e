"""Stages: what acts on a picture's scores before they are stitched. Any method can be given any of them, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from ..words.vocabulary import Vocabulary
from .picture import Picture, Scores

if TYPE_CHECKING:
    from ..towers.encoder import DenseCLIP
    from ..towers.tail import Gathered


class Stage(nn.Module):
    """Revises a picture's scores, patch by patch."""

    needs_original: bool = False
    """Whether it looks at the picture at its full size."""
    needs_features: bool = False
    """Whether it looks at the windows' features (`Picture.patches`)."""
    needs_summary: Literal["", "window", "picture"] = ""
    """Whether it asks for the unit feature of each window as a whole, or of the whole picture (`Picture.summary`)."""
    needs_templates: bool = False
    """Whether it asks for the queries under each template alone (`TextBank.single`)."""

    @property
    def second_tower(self) -> DenseCLIP | None:
        """Another CLIP than the method's that it asks, if it does."""
        return None

    def check(self, vocabulary: Vocabulary, templates: Sequence[str]) -> None:
        """Raises InputError for words or templates that the stage is not made for."""

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        """Revised scores, on the cells of `scores` or on others."""
        raise NotImplementedError


@dataclass(frozen=True)
class Asked:
    """What a model's stages ask for: the windows' features, their summaries, that of the whole picture."""

    features: bool
    summaries: bool
    overall: bool

    @classmethod
    def by(cls, stages: Iterable[Stage]) -> Asked:
        """All that any of them asks for."""
        stages = list(stages)
        summaries = {stage.needs_summary for stage in stages}
        return cls(any(stage.needs_features for stage in stages), "window" in summaries, "picture" in summaries)

    def of_windows(self, count: int) -> dict[str, bool]:
        """What is to be kept of the windows of a picture that has `count` of them: a single one is the picture."""
        return {"features": self.features, "summary": self.summaries or (self.overall and count == 1)}

    def given(self, kept: dict[str, Gathered], summary: Callable[[], Tensor]) -> dict[str, Tensor | None]:
        """The fields of a `Picture`, of what was kept of its windows; `summary` makes that of the whole."""
        summaries = kept.get("summary")
        single = summaries is not None and len(summaries) == 1
        overall = (summaries if single else summary()) if self.overall else None
        return {"patches": kept.get("features"), "summaries": summaries, "overall": overall}
