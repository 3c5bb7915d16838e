"""MaskCLIP+: the labels that a student is taught, of given features.

stage_maskclip_plus  `feature` (1, C, h, w), `text` (Q, C) of unit length, `keys` (1, h·w, C) -> a map for each of
                     `plain`, `conf0.2`, `prompt_denoising`, `key_smoothing`, `both_conf`

A part of the picture was labelled before, as class 2, and a strip is ignored: neither is among the arrays, both stand
in every map. Nor do they say the thresholds of the last two words: those here give the maps, to the pixel.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F

from ...label.found import Classes, label_map
from ...methods.maskclip import denoise_prompts, smooth_keys
from .outcome import Part, differing
from .reading import Check, File, reads
from .reference import Reference

DENOISED, CONFIDENT = 0.9999, 8.0
GIVEN = ("feature", "text", "keys")
# Denoised, smoothed, and the value below which a pixel is ignored.
MAPS = {
    "plain": (False, False, 0.0),
    "conf0.2": (False, False, 0.2),
    "prompt_denoising": (True, False, 0.0),
    "key_smoothing": (False, True, 0.0),
    "both_conf": (True, True, CONFIDENT),
}
LABELLED, LABEL = (slice(112, None), slice(0, 44)), 2
IGNORED = (slice(None), slice(74, 83))


@reads("stage_maskclip_plus")
def labels(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each map."""
    yield Check("stage", "maskclip plus", [key for key in GIVEN if key in file], lambda: iter(()))  # given
    for name in MAPS:
        if name in file:
            yield Check("stage", f"maskclip plus {name}", [name], partial(taught, file, name))


def taught(file: File, name: str) -> Iterator[Part]:
    """Pixels of a map that are another class, or ignored by one of the two only."""
    feature, text, keys = (torch.from_numpy(file[key]) for key in GIVEN)
    is_denoised, is_smoothed, unsure = MAPS[name]
    scores = torch.einsum("nchw,kc->nkhw", F.normalize(feature, dim=1), text)
    if is_denoised:
        scores = denoise_prompts(scores, DENOISED)
    if is_smoothed:
        scores = smooth_keys(scores, keys, 1.0, axis=1)
    expected = file[name]
    best, found = F.interpolate(scores, expected.shape, mode="bilinear", align_corners=False)[0].max(0)
    found[LABELLED] = LABEL
    classes = Classes(tuple(map(str, range(len(text)))), [], None)
    ours = label_map(found.numpy(), best.numpy(), classes, unsure, 0)
    ours[IGNORED] = classes.ignore
    yield "wrong labels", differing(ours, expected), 0.0
