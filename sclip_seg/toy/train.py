"""The work of `sclip-seg toy-train`: the toy CLIP, from scratch on drawn scenes and their captions."""

import argparse
import math
import time
from collections.abc import Iterator

import numpy as np
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from ..bars import notice
from .train_command import TOY
from .training import THREADS, Descent, drawn, follow, halved, save, stacked
from .world import WINDOW, draw

WARMUP, COOLDOWN = 100, 300  # steps in which the learning rate climbs at the start and falls at the end
LARGEST_LOGIT_SCALE = 100.0  # as CLIP's

PHRASINGS = (
    "{}.",
    "a {}",
    "a picture of a {}.",
    "there is a {} here.",
    "i see a {}.",
    "look, a {}.",
)
GROUND_PHRASINGS = (
    "{}",
    "a picture of {}.",
    "there is {} everywhere.",
    "nothing but {}.",
    "a photo of the {}.",
)
PLACED = ("{} on {}", "{} on the {}", "{} in front of {}", "{} and {}", "{} surrounded by {}")


def draw_pool(seed: int, size: int) -> tuple[torch.Tensor, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """(size, 3, 64, 64) uint8 pictures, and the names of the things and of the grounds in each."""
    pictures, names = zip(*drawn(_draw_one, seed, size, 250), strict=True)
    return stacked(pictures), list(names)


def _draw_one(seed, index):
    scene = draw(seed, index, count=(0, 3), split="train")
    return scene.image, (scene.thing_names, scene.ground_names)


def say(random: np.random.Generator, things, grounds) -> tuple[str, frozenset[str]]:
    """A caption of a scene, and the names it uses: its things, or some; the ground mostly if there are none.

    Were the ground named often beside things, the patches of a thing would score higher for its ground.
    """
    things = random.permutation(things).tolist()
    grounds = random.permutation(grounds).tolist()
    if len(things) > 1 and random.random() < 0.25:
        things = things[: random.integers(1, len(things))]
    if things and random.random() < 0.85:
        grounds = []
    phrase = " and ".join(grounds)
    if things:
        listed = ", a ".join(things[:-1]) + " and a " * (len(things) > 1) + things[-1]
        phrase = random.choice(PLACED).format(listed, phrase) if grounds else listed
    if random.random() < 0.7:
        caption = OPENAI_IMAGENET_TEMPLATES[random.integers(len(OPENAI_IMAGENET_TEMPLATES))](phrase)
    else:
        caption = random.choice(PHRASINGS if things else GROUND_PHRASINGS).format(phrase)
    return caption, frozenset(things + grounds)


def contrastive_loss(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways over (B, B) logits, the target spread over the captions that use the same names."""
    target = same / same.sum(1, keepdim=True)
    rows = -(target * logits.log_softmax(1)).sum(1).mean()
    columns = -(target * logits.t().log_softmax(1)).sum(1).mean()
    return (rows + columns) / 2


def train(model, tokenizer, pool, steps: int, batch: int, seed: int, heard: set[int]) -> Iterator[float]:
    """Trains in place and yields the loss of each step; `heard` collects the tokens that captions used."""
    pictures, names = pool
    random = np.random.default_rng(seed)
    mean = 255 * torch.tensor(OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = 255 * torch.tensor(OPENAI_DATASET_STD).view(3, 1, 1)
    descent = Descent(model, steps, WARMUP, COOLDOWN)
    model.train()
    for _ in range(steps):
        chosen = random.choice(len(pictures), batch, replace=False)
        seen = pictures[torch.from_numpy(chosen)].float()
        for axis in (2, 3):  # names survive a flip
            flipped = torch.from_numpy(random.random(batch) < 0.5)
            seen[flipped] = seen[flipped].flip(axis)
        captions, said = zip(*(say(random, *names[i]) for i in chosen), strict=True)
        tokens = tokenizer(list(captions))
        heard.update(tokens.unique().tolist())
        same = torch.tensor([[a == b for b in said] for a in said], dtype=torch.float32)
        image = model.encode_image((seen - mean) / std, normalize=True)
        text = model.encode_text(tokens, normalize=True)
        loss = contrastive_loss(model.logit_scale.exp() * image @ text.t(), same)
        descent.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
        yield loss.item()


def weights(model, heard: set[int]) -> dict[str, torch.Tensor]:
    """The model's state in half precision, zero for the tokens that no caption used: they learned nothing."""
    state = halved(model)
    unheard = torch.ones(len(state["token_embedding.weight"]), dtype=torch.bool)
    unheard[list(heard)] = False
    state["token_embedding.weight"][unheard] = 0
    return state


def build(seed: int):
    """An untrained toy CLIP and its tokenizer."""
    torch.manual_seed(seed)
    open_clip.add_model_config(TOY / "toy.json")
    model = open_clip.create_model("toy")
    return model, SimpleTokenizer(context_length=model.context_length)


def make(options: argparse.Namespace) -> None:
    """Draws, trains, and writes the weights."""
    torch.set_num_threads(THREADS)
    start = time.time()
    pool = draw_pool(options.seed, options.pool)
    notice(f"{options.pool} pictures of {WINDOW} px drawn in {time.time() - start:.0f} s")
    model, tokenizer = build(options.seed)
    heard: set[int] = set()
    follow(train(model, tokenizer, pool, options.steps, options.batch, options.seed, heard), options.steps, start)
    save(weights(model, heard), options.out)
