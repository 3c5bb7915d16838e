"""Section `kernels` of `sclip-seg gpu-check`: what has kernels of its own, beside the plain code on the same device."""

from functools import partial

import torch
import torch.nn.functional as F

from ...picture.refine.pamr import PAMR
from ..speed import CASES
from .sheet import Sheet, beyond
from .speed import medians

SIZES = {name: (CASES[name].size, queries) for name, queries in (("voc21", 21), ("ade20k", 150))}
CLOSE = {"gap": ("<=", 1e-6)}


def measure(sheet: Sheet, device: torch.device, quick: bool) -> None:
    """PAMR as NACLIP has it, on maps of cosines."""
    sizes = {"toy": ((24, 32), 3)} if quick else SIZES
    for name, (size, queries) in sizes.items():
        sheet.attempt("kernels", f"pamr {name}", partial(pamr, size, queries, device, quick))


@torch.no_grad()
def pamr(size: tuple[int, int], queries: int, device: torch.device, quick: bool) -> dict:
    """Milliseconds of both ways, and how far their maps are from a CPU's: over noise, and where much is flat."""
    generator = torch.Generator().manual_seed(0)
    maps = 0.2 + 0.05 * torch.randn(queries, *size, generator=generator)  # cosines as CLIP's are
    noise = torch.randn(3, *size, generator=generator)
    coarse = (torch.randn(1, 3, 6, 8, generator=generator) > 0).float()
    flat = F.interpolate(coarse, size, mode="bilinear")[0]
    step, there = PAMR(), maps.to(device)
    works = {"ours": step, "plain": step.plain}
    row = dict.fromkeys(("gap", "plain_gap"), 0.0)
    for picture in (noise, flat):
        expected = step.plain(maps, picture)
        for key, work in zip(row, works.values(), strict=True):
            row[key] = max(row[key], float((work(there, picture.to(device)).cpu() - expected).abs().max()))
    timed = {key: partial(work, there, noise.to(device)) for key, work in works.items()}
    seconds = medians(timed, device.type == "cuda", quick)
    return row | {f"{key}_ms": 1000 * took for key, took in seconds.items()} | {"off": beyond(CLOSE, row)}
