"""How a model's text tower reads a prompt, as far as it decides how much of the context must be computed.

A causal tower that is pooled at its end-of-text token never looks beyond it: there the context can be cut to the
longest prompt. Of any other, padding is part of what is read, and `clip.encode_text` is asked.
"""

import torch
from open_clip.transformer import text_global_pool
from torch import Tensor, nn


def parts_of(clip: nn.Module) -> nn.Module:
    """What holds the text tower's parts: the model itself, or a tower of its own in it."""
    return clip if hasattr(clip, "token_embedding") else clip.text


def ends_of(clip: nn.Module, tokens: Tensor) -> Tensor | None:
    """Tokens up to and with the end-of-text token of each prompt (B,); None where more than those is read."""
    parts = parts_of(clip)
    pool, masked = _pool(parts), getattr(parts, "use_pad_mask", False) or getattr(parts, "cls_emb", None) is not None
    if masked or pool not in ("argmax", "eos") or not _is_causal(parts.attn_mask):
        return None
    found = tokens if pool == "argmax" else (tokens == _end_token(parts)).int()
    return found.argmax(1) + 1  # of open_clip's own tokens, that one has the highest id


def encode_prompts(clip: nn.Module, tokens: Tensor) -> Tensor:
    """`clip.encode_text` for token ids (B, L) of such a tower, with L up to the context's length: (B, D)."""
    parts = parts_of(clip)
    dtype, length, pool = parts.transformer.get_cast_dtype(), tokens.shape[1], _pool(parts)
    x = parts.token_embedding(tokens).to(dtype) + parts.positional_embedding[:length].to(dtype)
    x = parts.transformer(x, attn_mask=parts.attn_mask[:length, :length])
    x = parts.ln_final(x)
    pooled = text_global_pool(x, tokens, pool, **({"eos_token_id": _end_token(parts)} if pool == "eos" else {}))
    pooled = pooled[0] if isinstance(pooled, tuple) else pooled  # open_clip before 3.0 returns the tokens too
    projection = parts.text_projection
    if projection is None:
        return pooled
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection


def width_of(clip: nn.Module) -> int:
    """Length D of a text feature."""
    parts = parts_of(clip)
    if parts.text_projection is None:
        return parts.token_embedding.embedding_dim
    projection = parts.text_projection
    return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]


def _pool(parts: nn.Module) -> str:
    return getattr(parts, "text_pool_type", getattr(parts, "pool_type", "argmax"))


def _end_token(parts: nn.Module) -> int:
    return parts.text_eos_id if hasattr(parts, "text_eos_id") else parts.eos_id


def _is_causal(mask: Tensor | None) -> bool:
    return mask is not None and bool(torch.isneginf(mask).equal(torch.ones_like(mask, dtype=torch.bool).triu(1)))
