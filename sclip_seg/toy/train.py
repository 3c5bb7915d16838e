"""Trains the toy CLIP from scratch on drawn scenes and their captions (two cores: about half an hour)."""

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import save_file

from ..command import Parser, at_least_one, at_least_zero, run
from .world import WINDOW, draw

TOY = Path(__file__).parent
LEARNING_RATE = 2e-3
WARMUP, COOLDOWN = 100, 300  # steps in which the learning rate climbs at the start and falls at the end
WEIGHT_DECAY = 0.05
LARGEST_LOGIT_SCALE = 100.0  # as CLIP's
THREADS = 2  # sums are split by threads, so that another number gives other last digits

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
    with multiprocessing.get_context("spawn").Pool() as workers:
        drawn = workers.starmap(_draw_one, ((seed, index) for index in range(size)), chunksize=250)
    pictures, names = zip(*drawn, strict=True)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), list(names)


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


def learning_rate(step: int, steps: int) -> float:
    """Of one step, counted from 1: up, level, down. A longer training only has more of the level part."""
    return LEARNING_RATE * min(step / WARMUP, 1, (steps - step + 1) / COOLDOWN)


def train(model, tokenizer, pool, steps: int, batch: int, seed: int, heard: set[int]) -> Iterator[tuple[int, float]]:
    """Trains in place and yields (step, loss); `heard` collects the tokens that captions used."""
    pictures, names = pool
    random = np.random.default_rng(seed)
    mean = 255 * torch.tensor(OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = 255 * torch.tensor(OPENAI_DATASET_STD).view(3, 1, 1)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    model.train()
    for step in range(1, steps + 1):
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
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
        yield step, loss.item()


def weights(model, heard: set[int]) -> dict[str, torch.Tensor]:
    """The model's state in half precision, zero for the tokens that no caption used: they learned nothing."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
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


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=TOY / "toy.safetensors", help="file to write")
    parser.add_argument("--steps", type=at_least_one, default=1265, help="steps of the optimizer")
    parser.add_argument("--batch", type=at_least_one, default=96, help="pictures per step")
    parser.add_argument("--pool", type=at_least_one, default=30000, help="pictures drawn beforehand")
    parser.add_argument("--seed", type=at_least_zero, default=0, help="of the drawing, the captions and the weights")
    options = parser.parse_args(arguments)
    return run(lambda: make(options))


def make(arguments: argparse.Namespace) -> None:
    """Draws, trains, and writes the weights."""
    torch.set_num_threads(THREADS)
    start = time.time()
    pool = draw_pool(arguments.seed, arguments.pool)
    print(f"{arguments.pool} pictures of {WINDOW} px drawn in {time.time() - start:.0f} s", flush=True)
    model, tokenizer = build(arguments.seed)
    heard: set[int] = set()
    losses = []
    for step, loss in train(model, tokenizer, pool, arguments.steps, arguments.batch, arguments.seed, heard):
        losses.append(loss)
        if step % 20 == 0 or step == arguments.steps:
            recent = sum(losses[-20:]) / len(losses[-20:])
            minutes = (time.time() - start) / 60
            print(f"step {step}/{arguments.steps}  loss {recent:.3f}  {minutes:.1f} min", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.out.with_suffix(".partial")
    save_file(weights(model, heard), unfinished)
    os.replace(unfinished, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")
