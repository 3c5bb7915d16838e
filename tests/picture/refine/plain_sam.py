"""A tiny SAM, pictures and masks for it, and the rule of its refinement: float64, loops over regions and pixels.

Nothing of sclip_seg is used here.
"""

from collections.abc import Callable

import numpy as np
import torch
from formulas_cliptrase import bilinear
from numpy import ndarray as Array
from torch import Tensor, nn

SIDE, GRID, LOW = 128, 8, 32  # of its input, embedding and masks
Prompt = tuple[Array, Array, Array]


def small_sam() -> dict:
    """Settings of a SamConfig."""
    tower = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, global_attn_indexes=[0], window_size=4)
    return dict(
        vision_config=dict(**tower, image_size=SIDE, output_channels=16, num_pos_feats=8),
        prompt_encoder_config=dict(hidden_size=16, image_size=SIDE, mask_input_channels=8),
        mask_decoder_config=dict(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16),
    )


def at_random(point: Array, box: Array) -> tuple[Array, float]:
    """Smooth masks that depend on the prompt alone, and IoUs of which half are above 0.8."""
    random = np.random.default_rng(np.rint(1000 * np.concatenate([point, box])).astype(int))
    return bilinear(3 * random.normal(size=(1, 4, 4)), (LOW, LOW))[0], random.uniform(0.6, 1.0)


def everywhere(point: Array, box: Array) -> tuple[Array, float]:
    """Everything, surely."""
    return np.full((LOW, LOW), 4.0), 0.9


class Oracle:
    """Stands in for `decode`: masks and IoUs by `answer(point (2,), box (4,)) -> (logits (32, 32), iou)`."""

    def __init__(self, refinement: nn.Module, monkeypatch, answer: Callable) -> None:
        self.answer, self.prompts, self.calls = answer, [], 0
        monkeypatch.setattr(refinement, "decode", self.decode)

    def decode(self, embedding: Tensor, points: Tensor, boxes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        points, boxes, mask = (part.double().numpy() for part in (points, boxes, mask))
        self.prompts += [(point, box, mask) for point, box in zip(points, boxes, strict=True)]
        answers = [self.answer(point, box) for point, box in zip(points, boxes, strict=True)]
        return torch.tensor(np.stack([logits for logits, _ in answers])).float(), torch.tensor([a[1] for a in answers])


def prompts_for_decoder(count: int) -> tuple[Tensor, ...]:
    """What `decode` takes: embedding, points, boxes, mask."""
    generator = torch.Generator().manual_seed(2)
    points = SIDE * torch.rand(count, 2, generator=generator)
    boxes = (SIDE * torch.rand(count, 2, 2, generator=generator)).sort(1).values.flatten(1)
    mask = torch.rand(LOW, LOW, generator=generator)
    return torch.randn(16, GRID, GRID, generator=generator), points, boxes, mask


def picture(size: tuple[int, int], classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels and probabilities of smooth blobs; background where the largest is below 0.4, as a threshold has it."""
    random = np.random.default_rng(seed)
    scores = bilinear(4 * random.normal(size=(classes, 5, 6)), size)
    scores += 0.02 * random.normal(size=scores.shape)  # no two alike, as on the plateaus at the edges
    probability = torch.from_numpy(scores).softmax(0).float()
    return probability.argmax(0).masked_fill(probability.amax(0) < 0.4, 0), probability


def painted(
    shapes: dict[tuple[int, int, int, int], tuple[int, float]], size: tuple[int, int] = (64, 64), classes: int = 3
) -> tuple[Tensor, Tensor]:
    """Class 0 at 0.9 and, on each rectangle (top, bottom, left, right), its (class, probability).

    What is left of 1 is shared by the others.
    """
    labels, sure = torch.zeros(size, dtype=torch.int64), torch.full(size, 0.9)
    for (top, bottom, left, right), (label, value) in shapes.items():
        labels[top:bottom, left:right], sure[top:bottom, left:right] = label, value
    probability = ((1 - sure) / (classes - 1)).repeat(classes, 1, 1)
    return labels, probability.scatter(0, labels[None], sure[None])


def regions(mask: Array) -> list[Array]:
    """8-connected parts of a mask, by flooding."""
    left, found = set(zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True)), []
    while left:
        part, edge = np.zeros_like(mask), [left.pop()]
        while edge:
            row, column = edge.pop()
            part[row, column] = True
            near = {(row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        found.append(part)
    return found


def halved(labels: Tensor, probability: Tensor) -> tuple[Array, Array]:
    """Labels by the nearest pixel above and left, probabilities bilinear, at half size rounded down."""
    height, width = (side // 2 for side in labels.shape)
    rows = [row * labels.shape[0] // height for row in range(height)]
    columns = [column * labels.shape[1] // width for column in range(width)]
    return labels.numpy()[np.ix_(rows, columns)], bilinear(probability.double().numpy(), (height, width))


def prompt_of(region: Array, q: Array, full: tuple[int, int], t: float, weight: float) -> Prompt:
    """x, y of the peak; left, top, right, bottom; the mask prompt."""
    height, width = region.shape
    places = [(row, column) for row in range(height) for column in range(width) if region[row, column]]
    peak = max(places, key=lambda place: q[place])
    rows, columns = zip(*places, strict=True)
    across, down = (round(side * SIDE / max(height, width) + 1e-9) / side for side in (width, height))
    box = np.array([min(columns) * across, min(rows) * down, max(columns) * across, max(rows) * down])
    enlarged = bilinear(q[None], tuple(int(side * LOW / max(full) + 0.5) for side in full))[0]
    mask = np.zeros((LOW, LOW))
    for (row, column), value in np.ndenumerate(enlarged):
        mask[row, column] = weight * value if value > t else 0
    return np.array([peak[1] * across, peak[0] * down]), box, mask


def by_the_rule(labels: Tensor, probability: Tensor, size: tuple[int, int], answer: Callable, intended: bool = False):
    """Refined labels, and every prompt, of iou_threshold 0.8, coarse_threshold 0.2, min_area 6, mask_weight 0.005."""
    coarse, low = halved(labels, probability)
    full, q = tuple(labels.shape), probability.double().numpy()
    scores, failed, prompts = np.zeros(q.shape), np.zeros(full, bool), []
    for c in range(len(q)):
        if low[c].max() < 0.2:
            continue
        for region in regions((coarse == c) & (low.max(0) >= 0.2)):
            if region.sum() < 6:
                continue
            prompts.append(prompt_of(region, low[c], full, 0.2, 0.005))
            logits, iou = answer(*(np.float32(part).astype(float) for part in prompts[-1][:2]))
            if iou > 0.8:
                shown = bilinear(logits[None], (SIDE, SIDE))[:, : size[0], : size[1]]
                mask = bilinear(shown, full)[0]
                scores[c] = np.maximum(scores[c], np.where(mask > 0, q[c] / (1 + np.exp(-mask)), 0))
            else:
                rows = [row * region.shape[0] // full[0] for row in range(full[0])]
                columns = [column * region.shape[1] // full[1] for column in range(full[1])]
                failed |= region[np.ix_(rows, columns)]
    refined = np.where(scores.sum(0) == 0, labels.numpy(), scores.argmax(0))
    if intended:
        refined = np.where(failed & (q.max(0) > scores.max(0)), labels.numpy(), refined)
    return refined, prompts


def in_order(prompts: list[Prompt]) -> list[Prompt]:
    """Prompts sorted, as no rule says in which order regions come."""
    return sorted(prompts, key=lambda prompt: tuple(np.round(np.concatenate(prompt[:2]), 3)))


def released_embedding(mask: Array, weights: dict[str, Array]) -> Array:
    """The dense embedding with each LayerNorm over the rows of a column: (32, 32) -> (16, 8, 8)."""

    def halve(maps: Array, kernel: Array, bias: Array) -> Array:
        out = np.empty((len(kernel), maps.shape[1] // 2, maps.shape[2] // 2))
        for channel, row, column in np.ndindex(out.shape):
            patch = maps[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            out[channel, row, column] = (kernel[channel] * patch).sum() + bias[channel]
        return out

    def norm(maps: Array, scale: Array, shift: Array) -> Array:
        out = np.empty_like(maps)
        for channel, column in np.ndindex(len(maps), maps.shape[2]):
            rows = maps[channel, :, column]
            normal = (rows - rows.mean()) / np.sqrt(rows.var() + 1e-6)
            out[channel, :, column] = normal * scale[channel] + shift[channel]
        return out

    def gelu(maps: Array) -> Array:
        return maps * (1 + torch.erf(torch.from_numpy(maps) / 2**0.5).numpy()) / 2

    maps = mask[None]
    for index in (1, 2):
        conv, normed = f"conv{index}", f"layer_norm{index}"
        maps = halve(maps, weights[f"{conv}.weight"], weights[f"{conv}.bias"])
        maps = gelu(norm(maps, weights[f"{normed}.weight"], weights[f"{normed}.bias"]))
    return np.einsum("oi,ihw->ohw", weights["conv3.weight"][:, :, 0, 0], maps) + weights["conv3.bias"][:, None, None]
