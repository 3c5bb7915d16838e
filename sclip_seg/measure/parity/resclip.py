"""ResCLIP: its constants are those of our configs, dataset by dataset."""

from collections.abc import Iterator

from torch import Tensor

from ...config import CONFIGS, load_config
from ...methods.resclip import BASES, feedback, patch_labels
from .datasets import dataset_words
from .names import Words, nothing
from .outcome import CLOSE, Part, differing, gap, thinned
from .visual import Seen, of_tail, visual

TUNED = ("rcs", "sfr", "sfr_scale", "threshold")


def published(dataset: str) -> dict:
    """The constants of a dataset, with the half precision of the released feedback."""
    tuned = load_config(CONFIGS / "resclip.py", dataset).model.backbone.tail
    return of_tail(**{key: tuned[key] for key in TUNED}, half=True)


def first_pass(seen: Seen) -> Tensor:
    """Probabilities of the queries at the pixels, (Q, H, W)."""
    trace, own = seen.trace, seen.backbone.tail
    t = trace.qkv(-1)
    first = own.close(trace, t, own.residual_attention(t, own.cross(trace)))
    (probability,) = own.probabilities(trace, trace.patches(first), seen.reference.queries())
    return probability


def labels(seen: Seen) -> Tensor:
    """Of the patches by the first pass, (P,)."""
    return patch_labels(first_pass(seen), seen.backbone.tail.threshold, seen.backbone.patch, seen.trace.grid)


def probabilities(seen: Seen) -> Iterator[Part]:
    """Of the first pass, at every 16th pixel."""
    theirs = seen.group["seg_prob"]
    yield "probabilities", gap(thinned(first_pass(seen), theirs, (1, 2), 16), theirs), CLOSE


def wrong_labels(seen: Seen) -> Iterator[Part]:
    """Patches with another label."""
    yield "wrong patch labels", differing(labels(seen).view(seen.trace.grid), seen.group["patch_labels"]), 0.0


def fed_back(seen: Seen) -> Iterator[Part]:
    """Every 37th row of Ŝ."""
    own, theirs = seen.backbone.tail, seen.group["S_rows"]
    same = feedback(labels(seen), seen.trace.grid, own.sigma, own.sight, own.blur, own.scaling)
    yield "feedback", gap(thinned(same, theirs, (0,), 37), theirs), CLOSE


# The SCLIP base keeps its residual and its FFN.
SCLIP = dict(residual=True, mlp=True)
WORDS: Words = {
    "rcs": lambda: of_tail(rcs=0.3, sfr=None),
    "other": nothing,
    "lam": lambda weight: of_tail(rcs=weight),
    "no_rcs": lambda: of_tail(rcs=None),
    "no_sfr": lambda: of_tail(sfr=None),
    "fp32": lambda: of_tail(half=False),
    **{base: lambda base=base: of_tail(base=base, **(SCLIP if base == "sclip" else {})) for base in BASES},
    **dataset_words(published),
}
PARTS = {"patch_labels": wrong_labels, "S_rows": fed_back, "seg_prob": probabilities}

visual("resclip", dict(type="ResCLIP", rcs=0.3, rcs_scale=2.0, sfr=None), WORDS, PARTS)
