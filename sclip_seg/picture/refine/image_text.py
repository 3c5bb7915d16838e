"""Models of transformers that answer in words about a picture, from weights on this machine, as rerankers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...handed_in import existing
from ...registry import RERANKERS
from ...settings import Count
from .rerank import parsed

BLOCK = 2**24  # bytes that are read at a time
QUESTION = (
    "What does this picture show? Sort these names by how well they fit it, the best first, and answer with the sorted "
    "list in brackets and nothing else: [{}]"
)


@RERANKERS.register_module()
class ImageTextToText:
    """transformers' pipeline 'image-text-to-text' over a folder with a model and its processor; nothing is downloaded.

    Args:
        checkpoint: the folder, with weights as safetensors.
        tokens: of an answer, at most.
        question: with one `{}`, where the names go.
    """

    def __init__(self, checkpoint: str, tokens: Count = 100, question: str = QUESTION) -> None:
        self.folder, self.tokens, self.question = existing(checkpoint), tokens, question
        weights = sorted(self.folder.glob("*.safetensors"))
        if not weights:
            raise InputError(f"{self.folder} has no weights (*.safetensors) of a model that answers about pictures")
        self.digest = _digest([*weights, *sorted(self.folder.glob("*.json")), *sorted(self.folder.glob("*.jinja"))])
        self._ask: Callable[..., object] | None = None

    @property
    def told(self) -> str:
        """Folder and digest."""
        settings = hashlib.sha256(f"{self.tokens} {self.question}".encode()).hexdigest()[:6]
        return f"{self.folder.name}#{self.digest}.{settings}"

    def rank(self, crop: np.ndarray, names: Sequence[str]) -> list[int]:
        """As it answers; in the order of the names where it answers anything else."""
        self._ask = self._ask or _pipeline(self.folder)
        content = [
            {"type": "image", "image": Image.fromarray(np.ascontiguousarray(crop))},
            {"type": "text", "text": self.question.format(", ".join(names))},
        ]
        answers = self._ask(
            text=[{"role": "user", "content": content}],
            max_new_tokens=self.tokens,
            return_full_text=False,
            generate_kwargs={"do_sample": False},
        )
        return parsed(str(answers[0]["generated_text"]), names)


def _pipeline(folder: Path) -> Callable[..., object]:
    """The model as a function. Raises InputError."""
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
    except ImportError as error:
        raise InputError("asking a language model needs transformers: pip install 'sclip_seg[regions]'") from error
    own = dict(local_files_only=True, trust_remote_code=False)
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, **own).eval()
        processor = AutoProcessor.from_pretrained(folder, **own)
        return pipeline("image-text-to-text", model=model, processor=processor)
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{folder} is no model that answers about pictures: {said}") from error


def _digest(paths: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                total.update(block)
    return total.hexdigest()[:12]
