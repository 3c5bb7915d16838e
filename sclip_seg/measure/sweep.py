"""The work of `sclip-seg towers`: every tower that open_clip knows, cut to one block, against itself."""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import open_clip
import timm
import torch
from torch import Tensor, nn

from ..errors import InputError, near
from ..files import write_atomically
from ..towers.encoder import DenseCLIP
from ..towers.kinds import Outline, outline, refuse_unread
from ..towers.radio import SHAPES, WORDS
from ..towers.weights import build_clip
from ..words.text_tower import encode_prompts, ends_of, parts_of, width_of
from ..words.tokenizers import name_of

LARGEST = 4 * 2**30  # bytes of a model at one block
TOLERANCE = 1e-5
FEW = 2000  # words that a text tower with a tokenizer of Hugging Face's is cut to
COLUMNS = ("arch", "read", "kind", "blocks", "patch", "class token", "pooling", "tokenizer", "said")


def sweep(options: argparse.Namespace) -> int:
    """One row an architecture, printed as it is found. 1 where one differs."""
    rows, known = [], [name for name in open_clip.list_models() if name != "toy"] + [*SHAPES]
    for arch in options.archs or known:
        if arch not in known:
            raise InputError(f"there is no tower {arch!r}{near(arch, known)}; see open_clip.list_models()")
        start = time.perf_counter()
        rows.append(row_of(arch))
        print("\t".join(rows[-1]), f"({time.perf_counter() - start:.1f} s)", flush=True)
    if options.write is not None:
        write_atomically(options.write, "\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n")
    return int(any(row[1] == "differs" for row in rows))


def row_of(arch: str) -> tuple[str, ...]:
    """What the table says of an architecture; RADIO's is not held against its own code, which is not here."""
    if arch in SHAPES:
        return _row(arch, outline(arch), "yes", "", WORDS[SHAPES[arch].words].arch)
    try:
        refuse_unread(arch, open_clip.get_model_config(arch))
        found = outline(arch)
    except InputError as error:
        return (arch, "no", *[""] * 6, str(error))
    with one_block(arch) as (name, size):
        if size > LARGEST:
            return _row(arch, found, "untried", f"{size / 2**30:.1f} GB at one block")
        worst = max(differences(name).values())
    return _row(arch, found, "yes" if worst < TOLERANCE else "differs", f"{worst:.0e}")


def _row(arch: str, found: Outline, read: str, said: str, words: str | None = None) -> tuple[str, ...]:
    token, tokenizer = "yes" if found.has_class_token else "no", name_of(words or arch) or ""
    return (arch, read, found.kind, str(found.depth), str(found.patch), token, found.pooling, tokenizer, said)


@contextmanager
def one_block(arch: str) -> Iterator[tuple[str, int]]:
    """A model of open_clip's like `arch` but for its depth, and its size in bytes."""
    config = open_clip.get_model_config(arch)
    config["text_cfg"]["layers"] = 1
    if name_of(arch) is not None:
        config["text_cfg"]["vocab_size"] = FEW
    if "multimodal_cfg" in config:
        config["multimodal_cfg"]["layers"] = 1
    if "timm_model_name" not in config["vision_cfg"]:
        config["vision_cfg"]["layers"] = 1
    create = timm.create_model

    def shallow(*names: str, **settings: object) -> nn.Module:
        return create(*names, **settings, depth=1)

    with tempfile.TemporaryDirectory() as folder, patch.object(timm, "create_model", shallow):
        path = Path(folder) / f"{arch} of one block.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(path)
        with torch.device("meta"):
            bare = build_clip(path.stem, device="meta")
        yield path.stem, sum(p.numel() * p.element_size() for p in bare.parameters())


@torch.no_grad()
def differences(arch: str, size: tuple[int, int] | None = None) -> dict[str, float]:
    """How far features of patches, of a window, and of prompts are from open_clip's own, over the largest entry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense = DenseCLIP(arch, None, dict(type="LastBlock", attention="qk"))
    stir(dense.clip)
    side = size or tuple(count * dense.patch for count in dense.tower.native)
    image = torch.randn(2, 3, *side, generator=torch.Generator().manual_seed(2))
    dense.tail.reads = lambda depth: (-2, -1)
    trace = dense.trace(image)
    tokens, pooled = own_tokens(dense.clip.visual, image)
    prompts = made_prompts(dense.clip, arch)
    ends = ends_of(dense.clip, prompts)
    expected = dense.clip.encode_text(prompts)
    if ends is None:
        ours = dense.clip.encode_text(prompts.clone())
    else:
        ours = encode_prompts(dense.clip, prompts[:, : ends.max()])
    unit = nn.functional.normalize
    return {
        "patches": _far(dense(image).flatten(2).transpose(1, 2), tokens),
        "window": _far(trace.class_features(trace.hidden(-1)), unit(pooled, dim=-1)),
        "text": _far(unit(ours, dim=-1), unit(expected, dim=-1)) if expected.shape[1] == width_of(dense.clip) else 1.0,
    }


def stir(clip: nn.Module) -> None:
    """Fresh weights have no biases and nearly even attention, which would hide mistakes in both."""
    generator = torch.Generator().manual_seed(1)
    for parameter in clip.parameters():
        if parameter.ndim < 2 or parameter.shape[0] == 1:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def own_tokens(visual: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """The tower's own last patch tokens through its own projection (N, P, D), and its own feature (N, D)."""
    if hasattr(visual, "trunk"):
        trunk = visual.trunk
        tokens = trunk.forward_features(image)[:, trunk.num_prefix_tokens :]
        if trunk.attn_pool is not None:  # as the pooling reads a picture of that token alone
            tokens = trunk.attn_pool(tokens.flatten(0, 1)[:, None]).unflatten(0, tokens.shape[:2])
        return visual.head(trunk.head(trunk.fc_norm(tokens))), visual(image)
    tokens = visual.transformer(visual._embeds(image))[:, 1:]
    if visual.attn_pool is not None:
        tokens = visual.attn_pool(tokens.flatten(0, 1)[:, None])[:, 0].unflatten(0, tokens.shape[:2])
    pooled = visual(image)
    return visual.ln_post(tokens) @ visual.proj, pooled[0] if isinstance(pooled, tuple) else pooled


def made_prompts(clip: nn.Module, arch: str) -> Tensor:
    """Token ids of three prompts of some lengths: with the end token where it is looked for, and padding behind it."""
    parts = parts_of(clip)
    length, words = parts.context_length, parts.token_embedding.num_embeddings
    end = parts.text_eos_id if hasattr(parts, "text_eos_id") else parts.eos_id
    end = end if getattr(parts, "text_pool_type", getattr(parts, "pool_type", "")) == "eos" else words - 1
    tokens = torch.zeros(3, length, dtype=torch.long)
    for row, count in zip(tokens, (3, 5, length), strict=True):
        row[:count] = torch.randint(10, words - 1, (count,), generator=torch.Generator().manual_seed(count))
        row[count - 1] = end
    return tokens


def _far(ours: Tensor, own: Tensor) -> float:
    return ((ours - own).abs().max() / own.abs().max()).item() if ours.shape == own.shape else float("inf")
