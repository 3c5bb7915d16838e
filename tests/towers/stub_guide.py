"""A guide small enough for the float64 formulas: one random projection of each cell of pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sclip_seg.towers.guide import Guide, LastAttention


class StubGuide(Guide):
    """Features (N, 6, h, w) of cells of `unit` pixels, linear in the pixels, plus a common part of length `lean`.

    `seen` lists the sizes that `forward` was given. The attention of three heads is linear in the features as well;
    some values of width 5 point away from most others. Joined, they have something of their place in the window, so
    that no two windows have equal ones.
    """

    digest = "stub"

    def __init__(self, unit: int = 8, lean: float = 0.6, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.unit, self.seen = unit, []
        self.register_buffer("kernel", torch.randn(6, 3, unit, unit, generator=generator) / unit)
        self.register_buffer("common", lean * F.normalize(torch.randn(6, generator=generator), dim=0))
        self.register_buffer("qkv", torch.randn(3, 3, 6, 5, generator=generator))

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape[2:]))
        pixels = image.to(self.kernel.dtype) - 0.5
        return F.conv2d(pixels, self.kernel, self.common, stride=self.unit)

    def query_plus_key(self, image: Tensor) -> Tensor:
        return self(image)

    def values(self, image: Tensor) -> Tensor:
        joined = torch.einsum("nchw,kcd->nkdhw", self(image), self.qkv[2]).flatten(1, 2)
        places = torch.randn(joined.shape[1:], generator=torch.Generator().manual_seed(3))
        return joined + 0.3 * places.to(joined)

    def keys(self, image: Tensor) -> Tensor:
        """Of four heads of width 5, of which one, two, three and four channels stand out: their spectra differ."""
        generator = torch.Generator().manual_seed(4)
        mixing = torch.randn(20, 6, generator=generator).to(self.kernel)
        joined = torch.einsum("nchw,dc->ndhw", self(image), mixing)
        joined = joined + 3 * torch.randn(joined.shape[1:], generator=generator).to(joined)
        channel = torch.arange(20)
        stands_out = torch.where(channel % 5 <= channel // 5, 1.0, 0.02).view(-1, 1, 1)
        return joined.clamp(-3, 3) * stands_out.to(joined)

    def last_attention(self, image: Tensor) -> LastAttention:
        features = self(image)[0]
        q, k, v = torch.einsum("chw,ikcd->ikhwd", features.float(), self.qkv.float()).flatten(2, 3)
        return LastAttention(tuple(features.shape[1:]), v, lambda head: (q[head] @ k[head].T / 5**0.5).softmax(-1))
