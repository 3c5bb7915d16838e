"""Label maps as `Found`, without a network."""

import numpy as np

from sclip_seg.drawing import make_palette
from sclip_seg.label.found import Classes, Found


def classes(count=5, background=None):
    """`count` classes called c0, c1 and so on."""
    return Classes(tuple(f"c{index}" for index in range(count)), make_palette(count), background)


def found(labels, kinds, name="a"):
    """All sure at 0.5."""
    labels = np.asarray(labels, np.uint8 if kinds.ignore == 255 else np.uint16)
    return Found(name, f"{name}.jpg", labels, np.full(labels.shape, 0.5, np.float32), kinds)


def hard(seed, shape=(37, 53), count=5):
    """Large patches with holes, one-pixel regions, diagonals, and some that are ignored."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, count, (shape[0] // 8 + 1, shape[1] // 8 + 1))
    labels = coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
    specks = random.random(shape) < 0.1
    labels[specks] = random.integers(0, count, int(specks.sum()))
    labels[random.random(shape) < 0.02] = 255
    return labels
