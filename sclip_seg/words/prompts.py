"""What a text tower cannot read of the prompts it is given, told in a warning; the features stay as they are."""

import json
import re
import warnings
from collections import defaultdict
from pathlib import Path

from torch import nn

from .text_tower import parts_of
from .tokenizers import most_tokens, name_of, token_lists

KNOWN = Path(__file__).parents[1] / "toy"  # ARCH.words.json: the words that the captions of a tower's training used
SHOWN = 3  # queries in a warning


def tell_of_prompts(clip: nn.Module, arch: str, queries: list[str], templates: tuple[str, ...]) -> None:
    """Warns of distinct queries whose prompts are longer than the context, and of those with words never learned."""
    for text in (_cut(arch, clip.context_length, queries, templates), _unknown(clip, arch, queries)):
        if text:
            warnings.warn(text, UserWarning, stacklevel=2)


def _cut(arch: str, context: int, queries: list[str], templates: tuple[str, ...]) -> str:
    if name_of(arch) is None and max(map(most_tokens, queries)) + max(map(most_tokens, templates)) <= context:
        return ""  # as nearly always, and nothing needs to be split into tokens
    around = max(map(len, token_lists(arch, [template.replace("{}", "") for template in templates])))
    own = [len(tokens) for tokens in token_lists(arch, queries)]
    longest, seen = {}, defaultdict(list)
    for query, length in zip(queries, own, strict=True):
        if length + around + 2 > context:  # the two joined may have a token or two more
            tokens = token_lists(arch, [template.format(query) for template in templates])
            if (most := max(map(len, tokens))) > context:
                longest[query] = most
                seen[tuple(tuple(row[: context - 1]) for row in tokens)].append(query)
    if not longest:
        return ""
    some = ", ".join(f"{_short(query)} ({most})" for query, most in list(longest.items())[:SHOWN])
    more = f" and {len(longest) - SHOWN} more queries" if len(longest) > SHOWN else ""
    alike = next((group for group in seen.values() if len(group) > 1), None)
    return (
        f"the text tower reads {context} tokens of a prompt and these have more, so that their ends are cut off: "
        f"{some}{more}"
        + (f"; {len(alike)} of them differ only beyond the cut, and are one query to the model" if alike else "")
    )


def _short(query: str) -> str:
    return repr(query if len(query) <= 40 else f"{query[:37]}...")


def _unknown(clip: nn.Module, arch: str, queries: list[str]) -> str:
    file = KNOWN / f"{arch}.words.json"
    if not file.is_file() or not _has_unlearned(clip):
        return ""
    known = json.loads(file.read_text(encoding="utf-8"))
    heard = {word for text in known["names"] + known["others"] for word in _words(text)}
    strange = list(dict.fromkeys(word for query in queries for word in _words(query) if word not in heard))
    if not strange:
        return ""
    some = ", ".join(map(repr, strange[:8])) + (f" and {len(strange) - 8} more" if len(strange) > 8 else "")
    return (
        f"the backbone {arch} never learned the words {some}, and what it never learned looks all the same to it; "
        f"it knows {', '.join(known['names'])}"
    )


def _has_unlearned(clip: nn.Module) -> bool:
    """Trained weights hold zeros for the tokens that no caption used; random ones know nothing that could be told."""
    return bool((parts_of(clip).token_embedding.weight == 0).all(1).any())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
