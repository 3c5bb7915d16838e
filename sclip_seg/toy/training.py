"""What both trainings of the toy world share: the drawing, the optimizer, the lines, the file."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..bars import Bar, notice

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
THREADS = 2  # sums are split by threads, so that another number gives other last digits
TOLD = 20  # steps between two lines


def drawn(draw_one: Callable[[int, int], object], seed: int, size: int, at_a_time: int) -> list:
    """`draw_one(seed, index)` of every index, by all processors."""
    with multiprocessing.get_context("spawn").Pool() as workers:
        return workers.starmap(draw_one, ((seed, index) for index in range(size)), chunksize=at_a_time)


def stacked(pictures: Sequence[np.ndarray]) -> Tensor:
    """(N, 3, H, W) of pictures (H, W, 3)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


class Descent:
    """AdamW for a number of steps, its rate in `warmup` of them climbing and in the last `cooldown` falling.

    A longer training only has more of the level part.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int,
        warmup: int,
        cooldown: int,
        rate: float = LEARNING_RATE,
        fused: bool | None = None,
    ) -> None:
        self.model, self.steps, self.warmup, self.cooldown, self.rate = model, steps, warmup, cooldown, rate
        self.taken = 0
        decayed = [p for p in model.parameters() if p.ndim >= 2]
        others = [p for p in model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
            fused=fused,
        )

    def step(self, loss: Tensor) -> None:
        """Down the gradient, which is clipped."""
        self.taken += 1
        rate = self.rate * min(self.taken / self.warmup, 1, (self.steps - self.taken + 1) / self.cooldown)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def follow(training: Iterable[float], steps: int, start: float) -> None:
    """Takes the steps of a training, which gives the loss of each, and says how it goes; it began at `start`."""
    losses = []
    with Bar(total=steps, unit="step") as bar:
        for loss in training:
            losses.append(loss)
            bar.update()
            if len(losses) % TOLD == 0 or len(losses) == steps:
                recent = sum(losses[-TOLD:]) / len(losses[-TOLD:])
                minutes = (time.time() - start) / 60
                notice(f"step {len(losses)}/{steps}  loss {recent:.3f}  {minutes:.1f} min")


def halved(model: nn.Module) -> dict[str, Tensor]:
    """The model's state in half precision."""
    return {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}


def save(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes the whole file or none of it, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    save_file(state, unfinished, metadata=metadata)
    os.replace(unfinished, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
