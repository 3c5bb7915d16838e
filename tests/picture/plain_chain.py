"""The published chain from window scores to labels, step by step on whole tensors: the reference that stays.

Nothing of sclip_seg is used here. Per window: patch scores bilinear to window pixels, zero-padded to the picture,
added up, divided by the number of windows over each pixel, bilinear to the label's size; then softmax over queries,
maximum over synonyms, area filter, argmax, threshold. (SCLIP's and NACLIP's `clip_segmentor.py`, ClearCLIP's padding.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mmseg_boxes(size: tuple[int, int], crop: int | None, stride: int | None) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of every window, as mmseg's `slide_inference` computes them."""
    if crop is None:
        return [(0, 0, *size)]
    boxes = []
    height_grids = max(size[0] - crop + stride - 1, 0) // stride + 1
    width_grids = max(size[1] - crop + stride - 1, 0) // stride + 1
    for row in range(height_grids):
        for column in range(width_grids):
            bottom, right = min(row * stride + crop, size[0]), min(column * stride + crop, size[1])
            boxes.append((max(bottom - crop, 0), max(right - crop, 0), bottom, right))
    return boxes


def symmetric_margins(height: int, width: int, patch: int) -> tuple[int, int, int, int]:
    """ClearCLIP's zeros (left, right, top, bottom) up to a multiple of the patch, the smaller half first."""
    across, down = -width % patch, -height % patch
    return across // 2, across - across // 2, down // 2, down - down // 2


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(Q, h, w) -> (Q, *size)"""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def stitched(
    tiles: Tensor,
    size: tuple[int, int],
    crop: int | None,
    stride: int | None,
    patch: int,
    padding: str,
    label_size: tuple[int, int],
) -> Tensor:
    """Patch scores (N, Q, h, w) of the windows over a picture of `size` -> score maps (Q, *label_size)."""
    total = tiles.new_zeros(tiles.shape[1], *size)
    count = tiles.new_zeros(1, *size)
    for scores, (top, left, bottom, right) in zip(tiles, mmseg_boxes(size, crop, stride), strict=True):
        height, width = bottom - top, right - left
        if padding == "symmetric":
            before, after, above, below = symmetric_margins(height, width, patch)
            padded = resize(scores, (above + height + below, before + width + after))
            pixels = padded[:, above : above + height, before : before + width]
        else:
            pixels = resize(scores, (height, width))
        total += F.pad(pixels, (left, size[1] - right, top, size[0] - bottom))
        count[:, top:bottom, left:right] += 1
    assert count.min() > 0
    return resize(total / count, label_size)


def class_probabilities(scores: Tensor, owner: list[int], logit_scale: float) -> Tensor:
    """Scores (Q, H, W), the class of each query -> (K, H, W)."""
    probability = torch.softmax(logit_scale * scores, dim=0)
    if len(owner) == max(owner) + 1:  # no synonyms, nothing to merge
        return probability
    one_hot = F.one_hot(torch.tensor(owner)).T.to(scores.dtype)  # (K, Q)
    return (probability[None] * one_hot[:, :, None, None]).max(1).values


def after_area_filter(probability: Tensor, min_area: float) -> Tensor:
    """Foreground classes (1, ...) without more than `min_area` of all foreground pixels get probability 0."""
    predicted = probability.argmax(0)
    areas = torch.stack([(predicted == index).sum() for index in range(len(probability))])
    survives = areas[1:] > min_area * areas[1:].sum()
    return torch.cat([probability[:1], probability[1:] * survives[:, None, None]])


def labels(probability: Tensor, threshold: float = 0.0) -> Tensor:
    """(H, W): the likeliest class, and class 0 where its probability is below `threshold`."""
    best, label = probability.max(0)
    label[best < threshold] = 0
    return label
