"""`--cfg-options KEY=VALUE`: values as they were typed.

A value is a Python literal (`0.1`, `True`, `None`, `'a text'`, `['a photo of a {}.']`, `dict` and `list` displays), a
list in brackets whose entries need no quotes (`[PAMR, Closing]`), numbers with commas between them (`1,2`), or else the
very text that was typed, with its blanks, commas and braces. `true`, `false` and `none` are read in any case.
mmengine's own `DictAction` takes every blank and quote out of a list.
"""

import argparse
import ast
import warnings
from collections.abc import Sequence

from .errors import InputError

CONSTANTS = {"true": True, "false": False, "none": None}
PAIRS = {"[": "]", "(": ")", "{": "}"}
DEPTH = 20  # brackets within brackets


def parse_options(options: Sequence[str], called: str = "--cfg-options") -> dict[str, object]:
    """`a.b.c=VALUE` -> `{"a.b.c": value}`; the last of a key counts. Raises InputError for what is no KEY=VALUE."""
    found = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key.strip() or not all(part for part in key.strip().split(".")):
            example = "model.logit_scale=40" if called == "--cfg-options" else "num_gpus=1"
            raise InputError(f"{called} takes KEY=VALUE, such as {example}, not {option!r}")
        found[key.strip()] = parse_value(text)
    return found


def parse_value(text: str) -> object:
    """What a value means."""
    try:
        return _value(text)
    except RecursionError as error:
        raise InputError(f"--cfg-options: {text[:40]}... has too many brackets within brackets") from error


def _value(text: str, depth: int = 0) -> object:
    if depth > DEPTH:
        raise RecursionError
    plain = text.strip()
    if plain.lower() in CONSTANTS:
        return CONSTANTS[plain.lower()]
    try:
        return _literal(plain)
    except (ValueError, SyntaxError, MemoryError, TypeError):  # no literal, of several kinds
        pass
    if plain[:1] in ("[", "(") and plain.endswith(PAIRS[plain[0]]):
        entries = split_values(plain[1:-1])
        if entries is not None:
            return [_value(entry, depth + 1) for entry in entries]
    return text


def _literal(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes
        value = ast.literal_eval(text)
    if isinstance(value, set | bytes | complex) or value is ...:
        raise ValueError(text)
    bare = isinstance(value, tuple) and not text.startswith("(")
    if bare and not all(isinstance(part, int | float | bool | None) for part in value):
        raise ValueError(text)
    return list(value) if isinstance(value, tuple) else value


def split_values(text: str) -> list[str] | None:
    """The entries between commas that stand in no brackets and no quotes; None where these do not close."""
    entries, closing, quote, start = [], [], "", 0
    for index, letter in enumerate(text):
        opens_text = letter in "'\"" and not text[start:index].strip()  # an apostrophe within a word is a letter
        if quote:
            quote = "" if letter == quote else quote
        elif opens_text:
            quote = letter
        elif letter in PAIRS:
            closing.append(PAIRS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            entries.append(text[start:index])
            start = index + 1
    if quote or closing:
        return None
    return [entry.strip() for entry in [*entries, text[start:]] if entry.strip()]


def add_options(parser: argparse.ArgumentParser, what: str = "override a setting") -> None:
    """The argument `--cfg-options`, as `parse_options` reads it; `{}` where it is not given."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_Typed,
        default={},
        metavar="KEY=VALUE",
        help=f"{what}, e.g. model.window.crop=336 \"model.templates=['a photo of a {{}}.']\" (lists in brackets)",
    )


class _Typed(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, space: argparse.Namespace, values: list[str], *_) -> None:
        try:
            options = parse_options(values)
        except InputError as error:
            parser.error(str(error))
        setattr(space, self.dest, {**getattr(space, self.dest), **options})


def put(settings: dict, key: str, value: object) -> None:
    """Sets `a.b.c` in nested dicts and lists; a dict goes into one that is there, key by key.

    As in mmengine's config files, a dict with `_delete_=True` takes the place of what is there. Raises InputError for
    a way that leads through something that has no parts.
    """
    node, seen = settings, ""
    for part in key.split("."):
        seen = f"{seen}.{part}" if seen else part
        place = _place(node, part, seen)
        if seen == key:
            _set(node, place, value)
        else:
            if isinstance(node, dict) and node.get(place) is None:
                node[place] = {}
            if isinstance(node[place], tuple):
                node[place] = list(node[place])
            node = node[place]


def _place(node: object, part: str, seen: str) -> str | int:
    if isinstance(node, dict):
        return part
    if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
        return int(part)
    what = f"a list of {len(node)}" if isinstance(node, list) else repr(node)[:60]
    raise InputError(f"--cfg-options names {seen}, and what stands there is {what}")


def _set(node: dict | list, place: str | int, value: object) -> None:
    there = node.get(place) if isinstance(node, dict) else node[place]
    if not (isinstance(value, dict) and isinstance(there, dict)) or value.get("_delete_"):
        node[place] = {k: v for k, v in value.items() if k != "_delete_"} if isinstance(value, dict) else value
        return
    for key, part in value.items():
        _set(there, key, part)
