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
    """Milliseconds of both ways, and how far apart their maps are: over noise, and over a picture that is half flat."""
    generator = torch.Generator().manual_seed(0)
    maps = (0.3 * torch.randn(queries, *size, generator=generator)).to(device)
    noise = torch.randn(3, *size, generator=generator)
    coarse = (torch.randn(1, 3, 6, 8, generator=generator) > 0).float()
    flat = F.interpolate(coarse, size, mode="bilinear")[0]
    pictures, step = [noise.to(device), flat.to(device)], PAMR()
    gap = max(float((step(maps, picture) - step.plain(maps, picture)).abs().max()) for picture in pictures)
    works = {"ours": partial(step, maps, pictures[0]), "plain": partial(step.plain, maps, pictures[0])}
    row = {f"{key}_ms": 1000 * seconds for key, seconds in medians(works, device.type == "cuda", quick).items()}
    return {"gap": gap, **row, "off": beyond(CLOSE, {"gap": gap})}
