"""PAMR's weights and rounds as kernels of a GPU, by Triton: a round reads each map about once.

The arithmetic is that of `PAMR.affinity` and `PAMR.average` on a CPU: sums in the order of the offsets, divisions and
roots as IEEE rounds them, no product fused into a sum. Where colours are flat, PAMR divides one rounding by another.
"""

import warnings
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS, QUERIES = 256, 2  # of a program; on an H100 tiles of rows and columns gain nothing over it
EXACT = {"enable_fp_fusion": False}


@cache
def usable(device: torch.device) -> bool:
    """Whether kernels can be built for a device (Triton needs a C compiler); warns where they cannot."""
    try:
        rounds(torch.zeros(1, 1, 1, device=device), torch.zeros(3, 1, 1, device=device), 1, [(0, 1)], 1)
    except Exception as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(f"PAMR runs without its kernels on {device}, slower: {told[-1][:200]}", stacklevel=2)
        return False
    return True


def rounds(maps: Tensor, guide: Tensor, steps: int, offsets: list[tuple[int, int]], centres: int) -> Tensor:
    """Maps (Q, H, W) after `steps` rounds by the colours (3, H, W) of `guide`; all fp32 and on one device.

    `centres` is how often a pixel itself counts among its neighbours where their spread is taken.
    """
    queries, height, width = maps.shape
    size = height, width
    blocks = triton.cdiv(height * width, PIXELS)
    places = torch.tensor(offsets, dtype=torch.int32).to(maps.device, non_blocking=True)
    guide, scale = guide.contiguous(), guide.new_empty(guide.shape)
    weights = guide.new_empty(len(offsets), height, width)
    before, after, spare = maps.contiguous(), maps.new_empty(maps.shape), maps.new_empty(maps.shape)
    with torch.cuda.device_of(maps):  # kernels start on the current device
        _scale[blocks, 3](guide, places, scale, *size, len(offsets), centres, PIXELS, **EXACT)
        _weigh[blocks,](guide, places, scale, weights, *size, len(offsets), PIXELS, **EXACT)
        for _ in range(steps):
            _average[blocks, triton.cdiv(queries, QUERIES)](
                before, weights, places, after, queries, *size, len(offsets), PIXELS, QUERIES, **EXACT
            )
            before, after, spare = after, spare, after  # what was handed in is never written
    return before


@triton.jit
def _near(places, offset, pixel, height, width):
    """Where a pixel's neighbour lies, borders replicated."""
    down, across = tl.load(places + 2 * offset), tl.load(places + 2 * offset + 1)
    row = tl.minimum(tl.maximum(pixel // width + down, 0), height - 1)
    column = tl.minimum(tl.maximum(pixel % width + across, 0), width - 1)
    return row * width + column


@triton.jit
def _scale(guide, places, scale, height, width, OFFSETS: tl.constexpr, CENTRES: tl.constexpr, PIXELS: tl.constexpr):
    """1e-8 + 0.1 σ of some pixels and one channel."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    channel = tl.program_id(1) * height * width
    count = tl.full((PIXELS,), OFFSETS + CENTRES, tl.float32)
    own = tl.load(guide + channel + pixel, inside, 0.0)
    mean = tl.div_rn(own * CENTRES, count)
    for offset in range(OFFSETS):
        near = tl.load(guide + channel + _near(places, offset, pixel, height, width), inside, 0.0)
        mean += tl.div_rn(near, count)
    spread = CENTRES * ((own - mean) * (own - mean))
    for offset in range(OFFSETS):
        near = tl.load(guide + channel + _near(places, offset, pixel, height, width), inside, 0.0)
        spread += (near - mean) * (near - mean)
    tl.store(scale + channel + pixel, 1e-8 + 0.1 * tl.sqrt_rn(tl.div_rn(spread, count - 1)), inside)


@triton.jit
def _far(guide, places, scale, offset, pixel, inside, height, width):
    """-a_o of some pixels."""
    size = height * width
    near = _near(places, offset, pixel, height, width)
    total = tl.full(pixel.shape, 0, tl.float32)
    for channel in tl.static_range(3):
        own = tl.load(guide + channel * size + pixel, inside, 0.0)
        other = tl.load(guide + channel * size + near, inside, 0.0)
        total += tl.div_rn(tl.abs(own - other), tl.load(scale + channel * size + pixel, inside, 1.0))
    return tl.div_rn(total, tl.full(total.shape, 3, tl.float32))


@triton.jit
def _weigh(guide, places, scale, weights, height, width, OFFSETS: tl.constexpr, PIXELS: tl.constexpr):
    """softmax_o a_o of some pixels."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    nearest = tl.full((PIXELS,), float("inf"), tl.float32)
    for offset in range(OFFSETS):
        nearest = tl.minimum(nearest, _far(guide, places, scale, offset, pixel, inside, height, width))
    total = tl.full((PIXELS,), 0, tl.float32)
    for offset in range(OFFSETS):
        total += tl.exp(nearest - _far(guide, places, scale, offset, pixel, inside, height, width))
    for offset in range(OFFSETS):
        weight = tl.exp(nearest - _far(guide, places, scale, offset, pixel, inside, height, width))
        tl.store(weights + offset * height * width + pixel, tl.div_rn(weight, total), inside)


@triton.jit
def _average(
    maps, weights, places, averaged, queries, height, width,
    OFFSETS: tl.constexpr, PIXELS: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """One round for some pixels of some queries: Σ_o w_o(u) m(u + o)."""
    size = height * width
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    inside = (query < queries)[:, None] & (pixel < size)[None]
    start = query.to(tl.int64)[:, None] * size
    total = tl.full((QUERIES, PIXELS), 0, tl.float32)
    for offset in tl.static_range(OFFSETS):
        weight = tl.load(weights + offset * size + pixel, pixel < size, 0.0)
        near = _near(places, offset, pixel, height, width)
        total += weight[None] * tl.load(maps + start + near[None], inside, 0.0)
    tl.store(averaged + start + pixel[None], total, inside)
