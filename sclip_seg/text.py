"""The text bank: every query of a vocabulary under every template, as one unit feature.

Per query: encode each prompt, normalise, average, normalise again, as all official codes do. A prompt is at most some
16 tokens long and the text tower is causal, so cutting the context to the longest prompt leaves the features as they
are, to rounding; prompts go in large batches, shortest first, each distinct query once.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import text_global_pool
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from .prompts import tell_of_prompts
from .vocabulary import Vocabulary

BATCH = 512


@dataclass(frozen=True)
class TextBank:
    """Unit query features (Q, D), and the class (Q,) that each query stands for."""

    features: Tensor
    owner: Tensor
    classes: int

    def to(self, like: Tensor) -> "TextBank":
        """The same bank where `like` is; the features stay fp32."""
        return TextBank(self.features.to(like.device), self.owner.to(like.device), self.classes)


def text_bank(
    clip: nn.Module,
    arch: str,
    vocabulary: Vocabulary,
    templates: tuple[str, ...],
    key: str = "",
    cache: str | Path | None = None,
    known: dict[str, Tensor] | None = None,
) -> TextBank:
    """The bank of `vocabulary` under `templates`, read from `cache` when it lies there, encoded and kept otherwise.

    `key` names everything else that moves the features: the weights' digest, the precision and the kind of device.
    `known` are features (D,) of queries that were encoded before with all of this; those that are not get there.
    """
    queries = list(dict.fromkeys(vocabulary.queries))
    tell_of_prompts(clip, arch, queries, templates)
    path = None
    if cache is not None:
        content = "\n".join([key, arch, open_clip.__version__, *templates, "", *queries])
        path = Path(cache) / f"{hashlib.sha256(content.encode()).hexdigest()[:24]}.safetensors"
    features = None if path is None else _read(path, len(queries))
    if features is None:
        known = {} if known is None else known
        if new := [query for query in queries if query not in known]:
            known.update(zip(new, encode_queries(clip, arch, new, templates).cpu(), strict=True))
        features = torch.stack([known[query] for query in queries])
        if path is not None:
            _keep(path, features)
    row = {query: index for index, query in enumerate(queries)}
    order = torch.tensor([row[query] for query in vocabulary.queries])
    return TextBank(features.cpu()[order], torch.tensor(vocabulary.owner), len(vocabulary))


def _read(path: Path, queries: int) -> Tensor | None:
    """Features (Q, D) kept at `path`; None if there are none, or the file was damaged."""
    if not path.is_file():
        return None
    try:
        features = load_file(path).get("features")
    except (SafetensorError, OSError):
        return None
    return features if features is not None and len(features) == queries else None


def _keep(path: Path, features: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    save_file({"features": features.cpu().contiguous()}, draft)
    os.replace(draft, path)


@torch.no_grad()
def encode_queries(clip: nn.Module, arch: str, queries: list[str], templates: tuple[str, ...]) -> Tensor:
    """Unit features (Q, D), fp32, of distinct queries; shows a progress bar over the prompts."""
    prompts = [template.format(query) for query in queries for template in templates]
    tokens = open_clip.get_tokenizer(arch)(prompts, context_length=clip.context_length)
    lengths = tokens.argmax(1) + 1  # the end-of-text token has the highest id
    order = lengths.argsort(stable=True)
    device = next(clip.parameters()).device
    features = None
    with tqdm(total=len(prompts), desc="text bank", unit="prompt", leave=False, disable=None) as bar:
        for batch in order.split(BATCH):
            encoded = encode_prompts(clip, tokens[batch, : lengths[batch].max()].to(device)).float()
            if features is None:
                features = encoded.new_empty(len(prompts), encoded.shape[1])
            features[batch.to(device)] = F.normalize(encoded, dim=-1)
            bar.update(len(batch))
    return F.normalize(features.unflatten(0, (len(queries), len(templates))).mean(1), dim=-1)


def encode_prompts(clip: nn.Module, tokens: Tensor) -> Tensor:
    """`clip.encode_text` for token ids (B, L) with L up to the context's length: (B, D)."""
    dtype = clip.transformer.get_cast_dtype()
    length = tokens.shape[1]
    x = clip.token_embedding(tokens).to(dtype) + clip.positional_embedding[:length].to(dtype)
    x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
    x = clip.ln_final(x)
    pooled = text_global_pool(x, tokens, getattr(clip, "text_pool_type", "argmax"))
    pooled = pooled[0] if isinstance(pooled, tuple) else pooled  # open_clip before 3.0 returns the tokens too
    projection = clip.text_projection
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
