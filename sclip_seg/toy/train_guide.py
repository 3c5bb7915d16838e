"""The work of `sclip-seg toy-guide-train`: the toy guide, which says what patches belong together."""

import argparse
import json
import math
import time
from collections.abc import Iterator

import numpy as np
import timm
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from ..bars import notice
from ..choices import CONFIGS
from . import rich_world, world
from .pool import COUNT
from .training import THREADS, Descent, drawn, follow, halved, save, stacked
from .world import WINDOW

GUIDE = Config.fromfile(CONFIGS / "_base_" / "backbones" / "toy.py").toy_guide
ARCH, OPTIONS = GUIDE.arch, {**GUIDE.options.to_dict(), "num_classes": 0}
MEAN = STD = 0.5
PICTURE, THINGS = 128, (4, 8)  # pixels a side of a drawn picture, of which windows are cut, and what is in it
WARMUP, COOLDOWN = 30, 120  # steps in which the learning rate climbs at the start and falls at the end
TEMPERATURE = 0.2
FAR = 8  # patches from which two of a window are taken to be of different things: more than a thing is wide
FAR_SHARE = 0.3  # of the weight of the negatives, for the far patches; the rest for the other windows'


def draw_pool(seed: int, size: int, name: str = "toy") -> Tensor:
    """(size, 3, 128, 128) uint8 pictures of a world's training split; their labels are thrown away."""
    return stacked(drawn(_draw_rich if name == "toy_rich" else _draw_plain, seed, size, 50))


def _draw_plain(seed, index):
    return world.draw(seed, index, PICTURE, PICTURE, count=THINGS, two_grounds=0.7, split="train").image


def _draw_rich(seed, index):
    return rich_world.draw(seed, index, PICTURE, PICTURE, COUNT, split="train").image


def cut(random: np.random.Generator, pool: Tensor, batch: int) -> Tensor:
    """(batch, 3, 64, 64) in [0, 1]: windows of different pictures, turned over by chance."""
    windows = []
    for which in random.choice(len(pool), batch, replace=False):
        top, left = random.integers(PICTURE - WINDOW + 1, size=2)
        window = pool[which, :, top : top + WINDOW, left : left + WINDOW]
        windows.append(window.flip([axis for axis in (1, 2) if random.random() < 0.5]))
    return torch.stack(windows).float() / 255


def relight(random: np.random.Generator, windows: Tensor) -> Tensor:
    """Each window (N, 3, H, W) a little brighter or darker, tinted and noisier, and normalised."""
    gain = random.uniform(0.85, 1.15, (len(windows), 1, 1, 1)) + random.uniform(-0.05, 0.05, (len(windows), 3, 1, 1))
    noise = 0.02 * random.standard_normal(windows.shape, dtype=np.float32)
    lit = windows * torch.from_numpy(gain.astype(np.float32)) + torch.from_numpy(noise)
    return (lit.clamp(0, 1) - MEAN) / STD


def relations(side: int) -> tuple[Tensor, Tensor]:
    """Of the patches of a window, side x side: which are 4-neighbours and which are far, both (side², side²) bool."""
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    apart = (place[:, None] - place[None]).abs()
    return apart.sum(2) == 1, apart.amax(2) >= FAR


def neighbour_loss(one: Tensor, other: Tensor) -> Tensor:
    """InfoNCE of patches against their neighbours, from features of two views of the windows, both (N, T, C).

    Negatives of a patch are the far ones of its window and all of other windows. What lies between is neither.
    """
    count, patches = one.shape[:2]
    cosine = F.normalize(one, dim=-1).flatten(0, 1) @ F.normalize(other, dim=-1).flatten(0, 1).t()
    cosine = cosine.unflatten(1, (count, patches)).unflatten(0, (count, patches)) / TEMPERATURE  # (N, T, N, T)
    own = torch.arange(count)
    outside = cosine.masked_fill(torch.eye(count, dtype=torch.bool)[:, None, :, None], -torch.inf)
    outside = outside.flatten(2).logsumexp(2) - math.log((count - 1) * patches)
    return info_nce(cosine[own, :, own], outside)


def info_nce(inside: Tensor, outside: Tensor | None = None) -> Tensor:
    """The loss from logits of the patches of a window among each other, (..., T, T).

    outside (..., T): log of the mean exp of the logits with patches elsewhere. Far and outside patches get their
    shares of a weight of T negatives.
    """
    patches = inside.shape[-1]
    neighbours, far = relations(math.isqrt(patches))
    negative = inside.masked_fill(~far, -torch.inf).logsumexp(-1) - far.sum(1).log() + math.log(patches)
    if outside is not None:
        share = math.log(FAR_SHARE), math.log((1 - FAR_SHARE) * patches)
        negative = torch.logaddexp(negative + share[0], outside + share[1])
    return (torch.logaddexp(inside, negative[..., None]) - inside)[..., neighbours].mean()


def guide_loss(model, one: Tensor, other: Tensor) -> Tensor:
    """Of two views (N, 3, H, W): the loss of the features, and of the last block's attention and values by head.

    The latter because they are read as an affinity too, within a window.
    """
    attn = model.blocks[-1].attn
    packed = []
    hook = attn.qkv.register_forward_hook(lambda module, tokens, out: packed.append(out))
    features = [model.forward_features(view) for view in (one, other)]
    hook.remove()
    (q, _, v), (_, k, w) = (p.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4) for p in packed)
    attention = q @ k.transpose(-2, -1) * attn.scale
    values = F.normalize(v, dim=-1) @ F.normalize(w, dim=-1).transpose(-2, -1) / TEMPERATURE
    return neighbour_loss(*features) + info_nce(attention) + info_nce(values)


def train(model, pool: Tensor, steps: int, batch: int, seed: int) -> Iterator[float]:
    """Trains in place and yields the loss of each step."""
    random = np.random.default_rng(seed)
    descent = Descent(model, steps, WARMUP, COOLDOWN)
    model.train()
    for _ in range(steps):
        windows = cut(random, pool, batch)
        loss = guide_loss(model, relight(random, windows), relight(random, windows))
        descent.step(loss)
        yield loss.item()


def build(seed: int):
    """An untrained guide."""
    torch.manual_seed(seed)
    return timm.create_model(ARCH, **OPTIONS)


def header() -> dict[str, str]:
    """What stands in the file: how to build the model, and what it wants to see. One entry: several have no order."""
    return {"guide": json.dumps({"arch": ARCH, "options": OPTIONS, "mean": MEAN, "std": STD})}


def make(options: argparse.Namespace) -> None:
    """Draws, trains, and writes the weights."""
    torch.set_num_threads(THREADS)
    start = time.time()
    pool = draw_pool(options.seed, options.pool, options.world)
    notice(f"{options.pool} pictures of {PICTURE} px drawn in {time.time() - start:.0f} s")
    model = build(options.seed)
    follow(train(model, pool, options.steps, options.batch, options.seed), options.steps, start)
    save(halved(model), options.out, header())
