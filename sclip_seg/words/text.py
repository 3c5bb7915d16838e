"""The text bank: every query of a vocabulary under every template, as one unit feature.

Per query: encode each prompt, normalise, average, normalise again, as all official codes do. A prompt is at most some
16 tokens long, and where the text tower is causal and pooled at the prompt's end (`text_tower`), cutting the context to
the longest prompt leaves the features as they are, to rounding; prompts go in large batches, shortest first, each
distinct query once. A model's bias of its logits is the same for all queries, and moves no softmax.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..bars import Bar
from ..files import write_atomically
from .prompts import tell_of_prompts
from .text_tower import encode_prompts, ends_of, parts_of, width_of
from .tokenizers import tokenizer
from .vocabulary import Vocabulary

BATCH = 512


@dataclass(frozen=True)
class TextBank:
    """Unit query features (Q, D), and the class (Q,) that each query stands for.

    `background` is the class of what is no other, if any; `beside` (R, D) are features of texts of no class, for a
    method that sets its classes against some (`Tail.beside`); `second` (Q, D') is what another tower makes of the
    queries (`Tail.second_tower`), `single` (Q, T, D) the queries under each template alone, for a stage that asks.
    """

    features: Tensor
    owner: Tensor
    classes: int
    background: int | None = None
    beside: Tensor | None = None
    second: Tensor | None = None
    single: Tensor | None = None

    def to(self, like: Tensor) -> "TextBank":
        """The same bank where `like` is; the features stay fp32."""
        held = {name: part.to(like.device) for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **held)

    def equals(self, other: "TextBank") -> bool:
        """Whether all of it is the same, to the last bit."""
        pairs = ((part, getattr(other, name)) for name, part in vars(self).items())
        return all(_equal(some, others) for some, others in pairs)


def _equal(some: object, other: object) -> bool:
    if isinstance(some, Tensor) and isinstance(other, Tensor):
        return some.shape == other.shape and torch.equal(some, other)
    return not isinstance(some, Tensor) and not isinstance(other, Tensor) and some == other


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

    `key` names what else moves the features: the weights' digest, the precision and the kind of device (`bank_key`).
    `known` are features (D,) of queries that were encoded before with all of this; those that are not get there.
    """
    queries = list(dict.fromkeys(vocabulary.queries))
    tell_of_prompts(clip, arch, queries, templates)
    path, content = None, ""
    if cache is not None:
        content = bank_key(clip, arch, queries, templates, key)
        path = Path(cache) / f"{content[:24]}.safetensors"
    features = None if path is None else _read(path, content, (len(queries), width_of(clip)))
    if features is None:
        known = {} if known is None else known
        if new := [query for query in queries if query not in known]:
            known.update(zip(new, encode_queries(clip, arch, new, templates).cpu(), strict=True))
        features = torch.stack([known[query] for query in queries])
        if path is not None:
            _keep(path, content, features)
    row = {query: index for index, query in enumerate(queries)}
    order = torch.tensor([row[query] for query in vocabulary.queries])
    return TextBank(features.cpu()[order], torch.tensor(vocabulary.owner), len(vocabulary))


def by_template(encode: Callable[..., TextBank], vocabulary: Vocabulary, templates: Sequence[str]) -> Tensor:
    """Unit features (Q, T, D) of the queries under each template alone. `encode` is `text_bank` of some tower."""
    prompts = [template.format(query) for query in vocabulary.queries for template in templates]
    distinct = list(dict.fromkeys(prompts))
    bank = encode(Vocabulary("prompts", tuple((prompt,) for prompt in distinct)), templates=("{}",), known=None)
    row = {prompt: index for index, prompt in enumerate(distinct)}
    return bank.features[[row[prompt] for prompt in prompts]].unflatten(0, (-1, len(templates)))


def bank_key(clip: nn.Module, arch: str, queries: Sequence[str], templates: Sequence[str], key: str = "") -> str:
    """64 hex digits over all that features in a cache depend on.

    Queries and templates in their order, `key`, the versions of torch and open_clip, open_clip's whole config of
    `arch` (heads, activation, pooling, tokenizer), and of the tower as it is: the kinds of its layers and its context.
    """
    covered = {
        "queries": list(queries),
        "templates": list(templates),
        "key": key,
        "versions": [torch.__version__, open_clip.__version__],
        "arch": [arch, open_clip.get_model_config(arch)],
        "layers": sorted({type(module).__name__ for module in parts_of(clip).transformer.modules()}),
        "context": clip.context_length,
    }
    return hashlib.sha256(json.dumps(covered, sort_keys=True, default=str).encode()).hexdigest()


def _digest(content: str, features: Tensor) -> str:
    return hashlib.sha256(content.encode() + features.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _read(path: Path, content: str, shape: tuple[int, int]) -> Tensor | None:
    """Features (Q, D) kept at `path` under the key `content`; None where anything about them is odd."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            digest = (file.metadata() or {}).get("digest")
            features = file.get_tensor("features")
    except (SafetensorError, OSError):
        return None
    is_whole = features.dtype == torch.float32 and features.shape == shape and digest == _digest(content, features)
    return features if is_whole and features.isfinite().all() else None


def _keep(path: Path, content: str, features: Tensor) -> None:
    """Writes a bank; the run does without where that cannot be done."""
    features = features.cpu().contiguous()
    try:
        write_atomically(path, save({"features": features}, {"digest": _digest(content, features)}))
    except OSError as error:
        warnings.warn(f"the text bank is not kept for the next run: {error}", UserWarning, stacklevel=2)


@torch.no_grad()
def encode_queries(clip: nn.Module, arch: str, queries: list[str], templates: tuple[str, ...]) -> Tensor:
    """Unit features (Q, D), fp32, of distinct queries; shows a progress bar over the prompts."""
    prompts = [template.format(query) for query in queries for template in templates]
    tokens = tokenizer(arch)(prompts, context_length=clip.context_length)
    ends = ends_of(clip, tokens)
    lengths = torch.full((len(tokens),), tokens.shape[1]) if ends is None else ends
    order = lengths.argsort(stable=True)
    device = next(clip.parameters()).device
    features = None
    with Bar(total=len(prompts), desc="text bank", unit="prompt", leave=False) as bar:
        for batch in order.split(BATCH):
            own = tokens[batch, : lengths[batch].max()].to(device)
            encoded = (clip.encode_text(own) if ends is None else encode_prompts(clip, own)).float()
            if features is None:
                features = encoded.new_empty(len(prompts), encoded.shape[1])
            features[batch.to(device)] = F.normalize(encoded, dim=-1)
            bar.update(len(batch))
    return F.normalize(features.unflatten(0, (len(queries), len(templates))).mean(1), dim=-1)
