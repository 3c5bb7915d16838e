"""The tokenizer of a model: open_clip's own, or one of Hugging Face's that its config names.

The latter needs `transformers`, an extra, and the tokenizer's own files: from a folder beside the weights, the hub's
cache, or the hub. They are read as data; no code that they may name is run.
"""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import open_clip
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from ..errors import InputError
from ..hosts import answers, hub

FILE = "tokenizer.json"
_folders: dict[str, list[Path]] = {}


def name_of(arch: str) -> str | None:
    """The tokenizer of Hugging Face's that a model names; None of open_clip's own."""
    return open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name") or None


def refuse_missing(arch: str) -> None:
    """Raises InputError where a model's tokenizer needs a package that is not installed."""
    name = name_of(arch)
    if name is not None and find_spec("transformers") is None:
        raise InputError(
            f"{arch} reads words by a tokenizer of Hugging Face's ({name}), which needs the package transformers: "
            "pip install 'sclip_seg[words]'"
        )


def look_in(arch: str, folders: Iterable[Path]) -> None:
    """Where the files of a model's tokenizer are looked for before they are downloaded."""
    known = _folders.setdefault(arch, [])
    known += [folder for folder in folders if folder not in known]


@cache
def tokenizer(arch: str) -> SimpleTokenizer | HFTokenizer:
    """Of open_clip's model of that name; each is built from a file of its merges. Raises InputError."""
    name = name_of(arch)
    if name is None:
        return open_clip.get_tokenizer(arch)
    refuse_missing(arch)
    text = open_clip.get_model_config(arch)["text_cfg"]
    settings = dict(context_length=text.get("context_length"), tokenizer_mode=text.get("tokenizer_mode"))
    settings |= text.get("tokenizer_kwargs", {}) | {"trust_remote_code": False}
    folder = next((folder for folder in _folders.get(arch, []) if (folder / FILE).is_file()), None)
    if folder is not None:
        return _built(arch, str(folder), settings | {"local_files_only": True})
    try:
        return _built(arch, name, settings | {"local_files_only": True})  # in the hub's cache: the network is not asked
    except InputError:
        if not answers(hub()):
            raise
        return _built(arch, name, settings)


def _built(arch: str, source: str, settings: dict) -> HFTokenizer:
    try:
        return HFTokenizer(source, **settings)
    except Exception as error:  # whatever the hub's client, the network or the disk raise
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"the tokenizer {source} of {arch} is not on this machine and cannot be read or downloaded ({said}); fetch "
            f"{FILE} and tokenizer_config.json of https://huggingface.co/{name_of(arch)} elsewhere, and put them at "
            f"data/weights/{name_of(arch)}/"
        ) from error


def token_lists(arch: str, texts: list[str]) -> list[list[int]]:
    """Token ids of whole texts, those at the ends included, however long the context is."""
    own = tokenizer(arch)
    if isinstance(own, HFTokenizer):
        return own.tokenizer([own.clean_fn(text) for text in texts]).input_ids
    tokens = own(texts, context_length=max(map(most_tokens, texts)))
    lengths = tokens.argmax(1) + 1  # the end-of-text token has the highest id
    return [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]


def most_tokens(text: str) -> int:
    """A bound: a byte each, of the text as it is cleaned (one character may become three), and the two at the ends."""
    return 3 * len(text.encode()) + 2 if not text.isascii() else len(text) + 2
