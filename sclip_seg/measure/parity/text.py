"""`openai_pooled_text.npz`: strings, their tokens and unit text features, and the pooled feature of an image."""

from collections.abc import Iterator
from functools import partial

import open_clip
import torch.nn.functional as F
from torch import Tensor

from ...towers.encoder import DenseCLIP
from ...words.text_tower import encode_prompts
from .outcome import CLOSE, Part, differing, gap
from .reading import Check, File, reads
from .reference import Reference
from .visual import last_block

POOLED = "square"  # the input of `image`


@reads("openai_pooled_text")
def openai_pooled_text(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each of the arrays that tell something of the strings, and one of the image."""
    for key, compare in (("text", text), ("tokens", tokens), ("image", pooled)):
        if key in file:
            keys = [key, "strings"] if key != "image" and "strings" in file else [key]
            yield Check("text", "text" if key != "image" else "pooled image", keys, partial(compare, reference, file))


def text(reference: Reference, file: File) -> Iterator[Part]:
    """Unit features."""
    found = encoded(reference, plain(reference), [str(string) for string in file["strings"]])
    yield "features", gap(found, file["text"]), CLOSE


def tokens(reference: Reference, file: File) -> Iterator[Part]:
    """As far as theirs go."""
    theirs = file["tokens"]
    ours = open_clip.get_tokenizer(reference.arch())([str(string) for string in file["strings"]])
    yield "tokens that differ", differing(ours[:, : theirs.shape[1]], theirs), 0.0


def pooled(reference: Reference, file: File) -> Iterator[Part]:
    """open_clip's own image feature."""
    feature = plain(reference).clip.encode_image(reference.input(POOLED))
    yield "feature", gap(F.normalize(feature, dim=-1), file["image"]), CLOSE


def plain(reference: Reference) -> DenseCLIP:
    """The tower as it is."""
    return reference.backbone(last_block("qk"))


def encoded(reference: Reference, backbone: DenseCLIP, prompts: list[str]) -> Tensor:
    """Unit features (Q, D) of prompts."""
    tokens = open_clip.get_tokenizer(reference.arch())(prompts)
    tokens = tokens[:, : int(tokens.argmax(1).max()) + 1].to(reference.device)
    return F.normalize(encode_prompts(backbone.clip, tokens), dim=-1)
