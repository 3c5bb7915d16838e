"""What a trained segmenter's queries say of words: embeddings beside CLIP's texts, and nothing as one more class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError
from ..handed_in import existing


@dataclass(frozen=True)
class ProposalHead:
    """`void` (D,), learned for nothing, and linear `layers`, weight and bias, with ReLU between them, if any."""

    name: str
    void: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> ProposalHead:
        """From safetensors: `void`, `layers.0.weight`, `layers.0.bias`, ... Raises InputError for anything else."""
        path = existing(path)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"the head {path} cannot be read: {error}") from error
        names = [[f"layers.{index}.{part}" for part in ("weight", "bias")] for index in range(len(tensors) // 2)]
        if tensors.keys() != {"void", *(name for pair in names for name in pair)}:
            raise InputError(f"{path} is no head of proposals: it has void, and layers.N.weight and layers.N.bias")
        return cls(path.stem, tensors["void"].flatten(), tuple(tuple(tensors[name] for name in pair) for pair in names))

    @property
    def told(self) -> str:
        """Name and digest, for the signature."""
        parts = [self.void, *(part for layer in self.layers for part in layer)]
        content = hashlib.sha256(b"".join(part.cpu().numpy().tobytes() for part in parts))
        return f"{self.name}#{content.hexdigest()[:12]}"

    def embedded(self, embeddings: Tensor) -> Tensor:
        """Queries' embeddings (R, C) after the layers, (R, D), fp32."""
        x = embeddings.float()
        for index, (weight, bias) in enumerate(self.layers):
            x = F.linear(x.relu() if index else x, weight.to(x), bias.to(x))
        return x

    def named(self, x: Tensor, text: Tensor, scale: float) -> Tensor:
        """Probabilities of embedded queries (R, D), for unit texts (Q, D) and, as the last column, nothing."""
        words = torch.cat([text, F.normalize(self.void.to(text), dim=0)[None]])
        if x.shape[1] != words.shape[1]:
            raise InputError(
                f"the head {self.name} gives {x.shape[1]} numbers, and the tower's texts are {text.shape[1]}"
            )
        return (scale * F.normalize(x, dim=1) @ words.T).softmax(1)

    def probabilities(self, embeddings: Tensor, text: Tensor, scale: float) -> Tensor:
        """Of queries' embeddings (R, C), for unit texts (Q, D) and, as the last column, nothing: (R, Q + 1), fp32."""
        return self.named(self.embedded(embeddings), text, scale)
