"""The work of `sclip-seg toy-train --tower toy12`: the deep toy CLIP from nothing, stopped and gone on with at will.

Nothing asks a CLIP what its patches say; of large ones one learns it by the way. A small deep one does not come to it:
after 3,840 steps it told 70 % of captions from a view and segmented at chance, MaskCLIP 3.5 mIoU of 32 names. So the
cooldown, which also sees whole views, asks four times: the class token, the mean of the patches' values with the rest
of the last block, and twice the mean of the values over a random rectangle of patches, against a caption of what that
shows. It is read after any of the later blocks, as methods do that read middle ones; once alone, and once with a class
token and a patch of another picture added, so that values come to outweigh what else methods leave beside them (the
residual path, a class token): of length 215 beside patches of 139 they become, where they were of 64 beside 360 without
it. What all patches share, four fifths of their length in such a tower, is held down: there is no telling them apart by
it. No label of a pixel is seen.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..bars import notice
from ..errors import InputError
from ..files import write_atomically
from . import curve
from .pool import Batch, Parts, Pool, batch
from .probe import probe
from .train import LARGEST_LOGIT_SCALE
from .train_command import TOY
from .training import Descent, halved, save

RATE, WARMUP, COOLDOWN = 1e-3, 150, 0.2  # of the optimizer; the last is a share of the steps
SHARED, BESIDE = 0.5, 3.0  # weights: of what all patches share in the loss, of another picture's patch beside values
PATCHES, SEEN = 64, 32  # of a view; how many of them are seen until the cooldown, which halves a step's cost


class Training:
    """The model, the optimizer and what has been logged, kept in `folder` and taken up from there."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.folder = options, options.work
        torch.manual_seed(options.seed)
        open_clip.add_model_config(TOY / "toy12.json")
        self.model = open_clip.create_model("toy12").to(get_device()).train()
        self.tokenizer = SimpleTokenizer(context_length=self.model.context_length)
        cooldown = max(1, round(COOLDOWN * options.steps))
        self.descent = Descent(self.model, options.steps, WARMUP, cooldown, RATE, fused=True)
        self.heard: set[int] = set()
        self.minutes = 0.0
        self.log: list[dict] = []
        if options.resume:
            self._take_up()
        elif self._checkpoint.is_file():
            raise InputError(f"{self.folder} holds a training; go on with it by --resume, or name another --work")

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def _given(self) -> dict:
        """What a training must not change on its way. How long it goes on may."""
        return {key: getattr(self.options, key) for key in ("seed", "batch", "pool")}

    def _take_up(self) -> None:
        if not self._checkpoint.is_file():
            raise InputError(f"there is no training in {self.folder} to go on with")
        kept = torch.load(self._checkpoint, map_location=get_device(), weights_only=True)
        if kept["given"] != self._given:
            raise InputError(f"the training in {self.folder} was begun with {kept['given']}, not {self._given}")
        self.model.load_state_dict(kept["model"])
        self.descent.optimizer.load_state_dict(kept["optimizer"])
        self.descent.taken, self.minutes, self.heard = kept["taken"], kept["minutes"], set(kept["heard"])
        lines = (self.folder / "log.jsonl").read_text().splitlines()
        self.log = [line for line in map(json.loads, lines) if line["step"] <= self.descent.taken]

    def keep(self) -> None:
        """The state and the log, each whole."""
        kept = {
            "model": self.model.state_dict(),
            "optimizer": self.descent.optimizer.state_dict(),
            "taken": self.descent.taken,
            "minutes": self.minutes,
            "heard": sorted(self.heard),
            "given": self._given,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(kept, self._checkpoint.with_suffix(".partial"))
        os.replace(self._checkpoint.with_suffix(".partial"), self._checkpoint)
        write_atomically(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.log))
        curve.draw(self.log, self.folder / "log.svg")

    def run(self) -> None:
        """All steps that are not yet taken."""
        options, descent = self.options, self.descent
        pool = Pool(self.folder, options.seed, options.pool)
        begun, losses = time.time() - 60 * self.minutes, []
        while descent.taken < options.steps:
            step = descent.taken
            cooling = step >= options.steps - descent.cooldown
            losses.append(self.step(batch(pool, options.seed, step, options.batch, PATCHES if cooling else SEEN)))
            self.minutes = (time.time() - begun) / 60
            last = descent.taken == options.steps
            if descent.taken % options.told == 0 or last:
                loss, accuracy = (sum(column) / len(losses) for column in zip(*losses, strict=True))
                self.tell(loss=round(loss, 4), accuracy=round(accuracy, 4))
                losses = []
            if descent.taken % options.probed == 0 or last:
                self.keep()
                self.tell(miou=probe(self.folder, self.state()))
                self.keep()
            elif descent.taken % options.kept == 0:
                self.keep()

    def tell(self, **found: object) -> None:
        """Logs and prints what was found at this step."""
        self.log.append({"step": self.descent.taken, "minutes": round(self.minutes, 2), **found})
        notice(json.dumps(self.log[-1]))

    def state(self) -> dict[str, Tensor]:
        """The model's weights as they are shipped: in half precision, with the embeddings of what captions used."""
        state, heard = halved(self.model), torch.tensor(sorted(self.heard))
        rows = state["token_embedding.weight"][heard.to(get_device())]
        return state | {"token_embedding.weight": rows, "token_embedding.heard": heard.int()}

    def step(self, given: Batch) -> tuple[float, float]:
        """One step: the class token's loss, and the share of views that it gives a caption of their own."""
        device = get_device()
        pictures = normalised(torch.from_numpy(given.pictures).to(device))
        kept = None if given.kept is None else torch.from_numpy(given.kept).to(device)
        told = [given.told] if given.parts is None else [given.told, given.parts.told]
        tokens = self.tokenizer([caption for said in told for caption in said.captions])
        self.heard.update(tokens.unique().tolist())
        tokens = tokens[:, : int((tokens != 0).sum(1).max())].to(device)
        pairs = [[torch.from_numpy(each).to(device) for each in relations(said.said, said.seen)] for said in told]
        # Of a few dozen tokens the plain attention is the fastest: on a CPU the fused one's gradient is half of a step.
        plain = sdpa_kernel(SDPBackend.MATH)
        with plain, torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bf16"):
            read = encode_pictures(self.model, pictures, kept, given.parts)
            text = encode_captions(self.model, tokens)
        texts = (self.model.logit_scale.exp() * F.normalize(text.float(), dim=1)).chunk(len(told))
        logits = [
            [F.normalize(each.float(), dim=1) @ words.t() for each in readings]
            for readings, words in zip(read.of, texts, strict=True)
        ]
        losses = [contrastive_loss(each, *pair) for of, pair in zip(logits, pairs, strict=True) for each in of]
        self.descent.step(sum(losses) / len(losses) + SHARED * read.shared)
        own, ignored = pairs[0]
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
            first = logits[0][0].masked_fill(ignored, -torch.inf).argmax(1, keepdim=True)
            return losses[0].item(), own.gather(1, first).float().mean().item()


def relations(said, seen):
    """(B, B) of views and captions: those that are a view's own, and those that are true of it besides.

    A caption is true of a view where all that it names is seen, and its own where another of the same names was made
    for it. What is true besides is no negative.
    """
    own = said[:, None] == said[None]
    return own, ((said[None] & ~seen[:, None]) == 0) & ~own


def contrastive_loss(logits: Tensor, own: Tensor, ignored: Tensor) -> Tensor:
    """InfoNCE both ways over (B, B) logits; the target is spread over the captions that mean the same."""
    target = own / own.sum(1, keepdim=True)
    logits = logits.masked_fill(ignored, -1e4)
    rows = -(target * logits.log_softmax(1)).sum(1).mean()
    columns = -(target * logits.t().log_softmax(1)).sum(1).mean()
    return (rows + columns) / 2


def normalised(pictures: Tensor) -> Tensor:
    """float32 of uint8, by OpenAI's statistics."""
    mean = 255 * torch.tensor(OPENAI_DATASET_MEAN, device=pictures.device).view(3, 1, 1)
    std = 255 * torch.tensor(OPENAI_DATASET_STD, device=pictures.device).view(3, 1, 1)
    return (pictures.float() - mean) / std


@dataclass(frozen=True)
class Read:
    """What is read: (B, D) each `of` the views and, if they have some, their parts; what all patches share, in [0, 1].

    The last is the squared length of the mean of all patches' unit vectors, on average over the blocks.
    """

    of: list[list[Tensor]]
    shared: Tensor | float


def encode_pictures(model: torch.nn.Module, pictures: Tensor, kept: Tensor | None, parts: Parts | None) -> Read:
    """Of (B, 3, 64, 64), of which the patches `kept` (B, T) are seen.

    Views are read by the class token and, where they have parts, by the mean of the patches' values with the rest of
    the last block; parts by the mean of the values, after the depth that they are read at, alone and with the class
    token and a patch of another picture added.
    """
    visual = model.visual
    patches = visual.conv1(pictures).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(len(patches), 1, -1), patches], 1) + visual.positional_embedding
    if kept is not None:
        chosen = (1 + kept)[..., None].expand(-1, -1, tokens.shape[-1])
        tokens = torch.cat([tokens[:, :1], tokens.gather(1, chosen)], 1)
    *blocks, last = visual.transformer.resblocks
    after = [visual.ln_pre(tokens)]
    for block in blocks:
        after.append(block(after[-1]))
    if parts is None:
        return Read([[_joint(visual, last(after[-1])[:, 0])]], 0.0)
    shared = _shared(after[1:])
    patches = after[-1][:, 1:] + _values(last, after[-1][:, 1:])
    patches = patches + last.mlp(last.ln_2(patches))
    inside = torch.from_numpy(parts.inside).to(patches)[..., None]
    values, others = _values(last, after[parts.depth][:, 1:]), after[parts.depth].roll(1, 0)
    beside = others[:, 0] + BESIDE * others[:, 1 + parts.beside]
    alone = (inside * values).sum(1) / inside.sum(1)
    of_views = [_joint(visual, last(after[-1])[:, 0]), _joint(visual, patches).mean(1)]
    return Read([of_views, [_joint(visual, alone), _joint(visual, alone + beside)]], shared)


def _shared(after):
    """As `Read` says, of the tokens after each block."""
    means = [F.normalize(tokens[:, 1:].float(), dim=-1).mean((0, 1)) for tokens in after]
    return sum(mean.square().sum() for mean in means) / len(means)


def _values(block, patches):
    to_values = (part.chunk(3)[2] for part in (block.attn.in_proj_weight, block.attn.in_proj_bias))
    return block.attn.out_proj(F.linear(block.ln_1(patches), *to_values))


def _joint(visual, tokens):
    return visual.ln_post(tokens) @ visual.proj


def encode_captions(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """(B, D) of (B, T) tokens, no longer than the longest needs: the tower is causal."""
    length = tokens.shape[1]
    embedded = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(embedded, attn_mask=model.attn_mask[:length, :length]))
    return hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)] @ model.text_projection


def make(options: argparse.Namespace) -> None:
    """Trains to the end, and writes the weights."""
    torch.set_num_threads(options.threads)
    training = Training(options)
    training.run()
    save(training.state(), options.out)
