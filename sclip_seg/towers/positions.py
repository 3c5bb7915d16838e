"""Positional embeddings for a grid that the network was not trained on.

Four official codes resample in four ways; each name below is one of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# mode and antialias of `interpolate`
RULES = {
    "sclip": ("bicubic", False),
    "dino": ("bicubic", False),
    "maskclip": ("bicubic", False),
    "gem": ("bicubic", True),
    "surgery": ("bilinear", False),
}


def resample(
    table: Tensor, native: tuple[int, int], grid: tuple[int, int], rule: str = "sclip", prefix: int = 1
) -> Tensor:
    """The (1 + h0·w0, C) table of the `native` grid (h0, w0), resampled to `grid` (h, w): (1 + h·w, C), fp32.

    The first row, or the first `prefix` rows, are of tokens that are no patches.

    'sclip' (SCLIP, NACLIP, ClearCLIP and most others): bicubic, called with the scale factor (h + 0.1)/h0, which shifts
    the sampling grid by up to a tenth of a patch at the far edge; left alone whenever the *number* of patches is the
    native one, whatever their shape. 'dino' (DINO, for guides): the same, left alone at the native grid only. The
    others resample to the size itself and leave only the native grid alone: 'maskclip' bicubic, 'gem' bicubic with
    antialiasing, 'surgery' (CLIP Surgery) bilinear. Surgery's code writes the
    result back into the network, so that the next size starts from it; not followed.
    """
    mode, antialias = RULES[rule]
    if grid == native or (rule == "sclip" and grid[0] * grid[1] == native[0] * native[1]):
        return table.float()
    if rule in ("sclip", "dino"):
        target = {"scale_factor": ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])}
    else:
        target = {"size": grid}
    picture = table[prefix:].float().T.reshape(1, -1, *native)
    picture = F.interpolate(picture, **target, mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([table[:prefix].float(), picture[0].flatten(1).T])
