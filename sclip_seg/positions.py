"""Positional embeddings for a grid that the network was not trained on.

Four official codes resample in four ways; each name below is one of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

RULES = ("sclip", "maskclip")


def resample(table: Tensor, native: tuple[int, int], grid: tuple[int, int], rule: str = "sclip") -> Tensor:
    """The (1 + h0·w0, C) table of the `native` grid (h0, w0), resampled to `grid` (h, w): (1 + h·w, C), fp32.

    'sclip' (SCLIP, NACLIP, ClearCLIP): bicubic, called with the scale factor (h + 0.1)/h0, which shifts the sampling
    grid by up to a tenth of a patch at the far edge; left alone whenever the *number* of patches is the native one,
    whatever their shape. 'maskclip' (MaskCLIP): bicubic to the size itself, left alone at the native grid.
    """
    unchanged = grid[0] * grid[1] == native[0] * native[1] if rule == "sclip" else grid == native
    if unchanged:
        return table.float()
    picture = table[1:].float().T.reshape(1, -1, *native)
    if rule == "sclip":
        factor = ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])
        picture = F.interpolate(picture, scale_factor=factor, mode="bicubic", align_corners=False)
    else:
        picture = F.interpolate(picture, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([table[:1].float(), picture[0].flatten(1).T])
