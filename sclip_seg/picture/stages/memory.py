"""What was remembered of a few labelled pictures, beside the words (RAR's memory, arXiv 2403.13805, patch by patch).

P: class probabilities of a patch by the words, p by the memory (`regions.memory`), w the memory's weight:

    (1 - w) P(c) + w p(c)    a class with words and memory
    P(c)                     one without memory
    p(c)                     one without words

Scores become probabilities here, so that what follows takes them as they are (`logit_scale=None`), and what is enlarged
and averaged over windows are these. A score that was measured so is few-shot.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...regions.memory import RegionMemory
from ...registry import STAGES
from ...settings import Count, Positive, Share
from ...words.vocabulary import Vocabulary
from ..picture import Picture, Scores
from ..stage import Stage

NONE = -1  # of a class without memory
BACKGROUND = "background"


@STAGES.register_module()
class Memory(Stage):
    """Blends class probabilities with those of a memory.

    Args:
        memory: its name, or its file; or one itself.
        weight: w.
        neighbours, temperature: k and τ.
        scale: the factor of the scores before their softmax; None where they are probabilities already.
        wordless: classes whose words are not asked.
    """

    needs_features = True

    def __init__(
        self,
        memory: str | RegionMemory,
        weight: Share = 0.5,
        neighbours: Count = 20,
        temperature: Positive = 0.05,
        scale: Positive | None = 40.0,
        wordless: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.memory = memory if isinstance(memory, RegionMemory) else RegionMemory.load(memory)
        self.weight, self.neighbours, self.temperature, self.scale = weight, neighbours, temperature, scale
        self.wordless = frozenset(name.lower() for name in wordless)

    def check(self, vocabulary: Vocabulary, templates: Sequence[str]) -> None:
        known = {query.lower() for query in vocabulary.queries}
        if lost := sorted(self.wordless - {name.lower() for name in self.memory.names}):
            raise InputError(f"{lost[0]!r} is to be known without its words, and the memory does not hold it either")
        if not known & {name.lower() for name in self.memory.names} and len(vocabulary) > 1:
            names = ", ".join(self.memory.own_names[:5])
            raise InputError(f"the memory {self.memory.name} holds none of the classes; it holds {names}")
        place = {name.lower(): index for index, name in enumerate(self.memory.names)}
        rows = [[place[query.lower()] for query in queries if query.lower() in place] for queries in vocabulary.classes]
        self.rows = [own[0] if own else NONE for own in rows]
        self.silent = [any(query.lower() in self.wordless for query in queries) for queries in vocabulary.classes]

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        if picture.rule.logit_scale is not None:
            raise InputError("a memory gives probabilities, which are taken as they are: logit_scale=None")
        if picture.tower is not None and picture.tower.digest != self.memory.made.get("tower"):
            raise InputError(f"the memory {self.memory.name} was made with another backbone than {picture.tower.arch}")
        features = F.normalize(picture.patches.float(), dim=1)
        tiles = scores.on(picture.plan, tuple(features.shape[2:]))
        cells = features.flatten(2).transpose(1, 2)
        remembered = self.memory.probabilities(cells.flatten(0, 1), self.neighbours, self.temperature)
        remembered = remembered.view(*cells.shape[:2], -1).transpose(1, 2).unflatten(2, tuple(features.shape[2:]))
        rows, silent = list(self.rows), torch.tensor(self.silent, device=tiles.device)
        background = picture.rule.background
        if background is not None and rows[background] == NONE and BACKGROUND in self.memory.names:
            rows[background] = self.memory.names.index(BACKGROUND)
        return picture.scored(self.blended(tiles, remembered, torch.tensor(rows), silent, picture.text.owner))

    def blended(self, tiles: Tensor, remembered: Tensor, rows: Tensor, silent: Tensor, owner: Tensor) -> Tensor:
        """Of scores (N, Q, h, w) and the memory's p (N, names, h, w); `rows` and `silent` are of the classes (K,)."""
        rows, silent = rows.to(owner.device)[owner], silent[owner]
        told = tiles.masked_fill(silent[None, :, None, None], -torch.inf) if silent.any() else tiles
        by_words = tiles if self.scale is None else (self.scale * told).softmax(1)
        by_words = torch.where(silent[None, :, None, None], 0.0, by_words.nan_to_num())
        weight = torch.where(silent, 1.0, self.weight).masked_fill(rows == NONE, 0.0)[None, :, None, None]
        return (1 - weight) * by_words + weight * remembered[:, rows.clamp(min=0)]
