"""SCAN's semantic integration (arXiv 2312.04089): a segmenter's queries ask a CLIP that sees the whole.

X^1 .. X^n are the patches (C, g, g) that CLIP has after some blocks; M_σ the low-frequency module, G_σ a Gauss filter
about the index (g // 2, g // 2) of the spectrum as it comes, so that its peak takes the high frequencies away:

    Y = fft2(X) (1 - G_σ);   M_σ(X) = X + Re ifft2(conv2(relu(conv1([Re Y; Im Y]))))  of 1x1 layers
    memory = fc2(fc1(all tokens of M_σ(X^i)));   e <- e + Attn(e, memory, memory), LayerNorm after all but the last
    e <- T(e + w unit(CLIP's feature of the picture))          T sees each query as a sequence of its own

Official code: github.com/yongliu20/SCAN. The layers are torch's own, by the names that the authors' checkpoint has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError
from ..handed_in import existing

HEADS = 8  # of its attentions, which no weight says


class SemanticIntegration(nn.Module):
    """Of `layers` cross-attentions and `encoders` layers; CLIP's tokens are `seen` wide, the queries `width`."""

    def __init__(self, seen: int, width: int, layers: int, encoders: int, forward: int) -> None:
        super().__init__()
        self.name, self.digest = "integration", ""
        self.weight = nn.Parameter(torch.zeros(1))
        self.LFM = nn.ModuleDict({name: nn.Conv2d(2 * seen, 2 * seen, 1) for name in ("conv1", "conv2")})
        self.oriclip_mlp = nn.ModuleDict({"fc1": nn.Linear(seen, width), "fc2": nn.Linear(width, width)})
        attentions = (nn.MultiheadAttention(width, HEADS, batch_first=True) for _ in range(layers))
        norms = (nn.LayerNorm(width) for _ in range(layers - 1))
        self.fusion_decoder = nn.ModuleDict({"multiattn": nn.ModuleList(attentions), "ln": nn.ModuleList(norms)})
        alone = (nn.TransformerEncoderLayer(width, HEADS, forward, batch_first=True) for _ in range(encoders))
        self.lightweight_transformer = nn.ModuleDict({"layers": nn.ModuleList(alone)})

    @classmethod
    def of(cls, tensors: dict[str, Tensor], name: str = "integration") -> SemanticIntegration:
        """Of the weights of a checkpoint, by their names there. Raises InputError for any that do not fit."""
        needed = "oriclip_mlp.fc1.weight", "lightweight_transformer.layers.0.linear1.weight"
        if any(tensors.get(one, torch.empty(0)).ndim != 2 for one in needed):
            raise InputError(f"{name} is no semantic integration: {' or '.join(needed)} is missing")
        width, seen = tensors[needed[0]].shape
        layers, encoders = (
            len({m[1] for one in tensors if (m := re.match(rf"{stem}\.(\d+)\.", one))})
            for stem in (r"fusion_decoder\.multiattn", r"lightweight_transformer\.layers")
        )
        if width % HEADS or not layers:
            raise InputError(f"{name} is no semantic integration: {layers} attentions of {width} numbers")
        with torch.device("meta"):
            made = cls(seen, width, layers, encoders, len(tensors[needed[1]]))
        wanted = made.state_dict()
        if odd := sorted(wanted.keys() ^ tensors.keys()):
            what = "lacks" if odd[0] in wanted else "has what it should not:"
            raise InputError(f"{name} is no semantic integration: it {what} {odd[0]} (one of {len(odd)})")
        if wrong := [one for one in wanted if wanted[one].shape != tensors[one].shape]:
            raise InputError(f"{name} is no semantic integration: {wrong[0]} is {tuple(tensors[wrong[0]].shape)}")
        made.load_state_dict({one: tensor.float() for one, tensor in tensors.items()}, assign=True)
        made.name, content = name, hashlib.sha256()
        for one in sorted(tensors):
            content.update(one.encode() + tensors[one].float().contiguous().numpy().tobytes())
        made.digest = content.hexdigest()[:12]
        return made.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | Path) -> SemanticIntegration:
        """From `integration.safetensors` of `sclip-seg convert-scan`. Raises InputError for anything else."""
        path = existing(path)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"the integration {path} cannot be read: {error}") from error
        return cls.of(tensors, path.stem)

    @property
    def told(self) -> str:
        """Name and digest, for the signature."""
        return f"{self.name}#{self.digest}"

    @property
    def seen(self) -> int:
        """How wide CLIP's tokens are."""
        return self.oriclip_mlp["fc1"].in_features

    def lowered(self, tokens: Tensor, sigma: float) -> Tensor:
        """M_σ of patches (C, h, w), fp32."""
        x = tokens.float()[None]
        spectrum = torch.fft.fft2(x) * (1 - gauss(tuple(x.shape[2:]), sigma).to(x))
        layered = self.LFM["conv2"](self.LFM["conv1"](torch.cat([spectrum.real, spectrum.imag], dim=1)).relu())
        return (x + torch.fft.ifft2(torch.complex(*layered.chunk(2, dim=1))).real)[0]

    def memory(self, tokens: Sequence[Tensor], sigmas: Sequence[float]) -> Tensor:
        """What is asked, (tokens, D), of patches (C, h, w) after some blocks."""
        all_of_them = [self.lowered(x, sigma).flatten(1).T for x, sigma in zip(tokens, sigmas, strict=True)]
        return self.oriclip_mlp["fc2"](self.oriclip_mlp["fc1"](torch.cat(all_of_them)))

    def forward(self, queries: Tensor, memory: Tensor, overall: Tensor) -> Tensor:
        """Queries (R, D) that asked the memory (T, D) and were shown the unit feature (D,) of the picture."""
        e, norms = queries.float()[None], [*self.fusion_decoder["ln"], nn.Identity()]
        for attention, norm in zip(self.fusion_decoder["multiattn"], norms, strict=True):
            e = norm(e + attention(e, memory[None], memory[None], need_weights=False)[0])
        alone = (e[0] + self.weight * overall)[:, None]
        for layer in self.lightweight_transformer["layers"]:
            alone = layer(alone)
        return alone[:, 0]


def gauss(size: tuple[int, int], sigma: float) -> Tensor:
    """(h, w), 1 at (h // 2, w // 2)."""
    rows, columns = ((torch.arange(side) - side // 2).float().square() for side in size)
    return (-(rows[:, None] + columns) / (2 * sigma**2)).exp()
