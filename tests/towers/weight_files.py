"""Weights files as people have them, written by torch itself, and a module that is shaped like OpenAI's archives."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn


class Tower(nn.Module):
    """A few parameters of every kind of layout, with the three settings that OpenAI's archives carry as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 2, bias=False)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)) for _ in range(2)])
        self.blocks[1][1].weight = self.blocks[0][1].weight  # shared
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("turned", torch.arange(12.0).view(3, 4).T)
        self.register_buffer("part", torch.arange(20.0)[5:15:2])
        self.register_buffer("low", torch.randn(5).half())
        self.register_buffer("kept_aside", torch.ones(2), persistent=False)
        self.mask = torch.zeros(2, 2)  # an attribute, no part of the state dict
        for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1(image).mean((2, 3))
        for block in self.blocks:
            x = block(x)
        return x * self.logit_scale + self.mask.sum() + self.turned.sum() + self.part.sum() + self.kept_aside.sum()


class Archive(nn.Module):
    """Holds a state dict under its own names, with those settings."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            *folders, leaf = name.split(".")
            holder = self
            for folder in folders:
                if not hasattr(holder, folder):
                    holder.add_module(folder, nn.Module())
                holder = getattr(holder, folder)
            holder.register_buffer(leaf, tensor)
        for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image: Tensor) -> Tensor:
        return image


def rewritten(source: Path, target: Path, change: dict, compress: int = zipfile.ZIP_STORED) -> Path:
    """A copy of an archive in which the entries named by their last part are others: bytes, or a function of them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            name, content = info.filename.split("/", 1)[1], old.read(info)
            if name in change:
                content = change[name](content) if callable(change[name]) else change[name]
            new.writestr(zipfile.ZipInfo(info.filename), content, compress)
    return target


def saved(content: object, **options) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def pickle_of(*calls: tuple[str, str, str]) -> bytes:
    """A protocol 2 pickle that calls MODULE.NAME(TEXT) one after the other, and gives a list of what came of it."""
    body = b"".join(
        b"c%s\n%s\nX%s%s\x85R" % (m.encode(), n.encode(), len(t).to_bytes(4, "little"), t.encode()) for m, n, t in calls
    )
    return b"\x80\x02(" + body + b"l."
