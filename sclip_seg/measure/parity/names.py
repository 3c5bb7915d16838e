"""What the names of files and keys say: words with numbers, `lam0.6`, `depth5_temp12`, `pre6_post2_multi5-9_rho0.1`.

    NAME = TERM {("_" | ".") TERM}      TERM = WORD [NUMBER ["-" NUMBER]]      NUMBER = digits ["." digits]

Which words there are, and what each makes of its numbers, says who reads the file.
"""

import inspect
import re
from collections.abc import Callable, Mapping

NUMBER = r"\d+(?:\.\d+)?"
Words = Mapping[str, Callable[..., dict]]


class UnknownName(ValueError):
    """A name, or a part of one, that nobody reads: no fault of ours or theirs, but to be said."""


def nothing() -> dict:
    """What a word sets that only tells files apart."""
    return {}


def options(name: str, words: Words) -> dict:
    """What the terms of a name set, later ones on top; `""` sets nothing. Raises UnknownName."""
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    term = re.compile(rf"({known})(?:({NUMBER})(?:-({NUMBER}))?)?(?:[_.]|$)")
    found, place = {}, 0
    while place < len(name):
        match = term.match(name, place)
        if match is None or (match.end() == len(name) and name[-1] in "_."):
            raise UnknownName(f"no word reads {name[place:]!r}")
        numbers = [number(digits) for digits in match.groups()[1:] if digits is not None]
        make = words[match[1]]
        try:
            inspect.signature(make).bind(*numbers)
        except TypeError:
            raise UnknownName(f"{match[1]!r} does not go with {len(numbers)} numbers") from None
        found, place = merged(found, make(*numbers)), match.end()
    return found


def number(digits: str) -> int | float:
    """Whole unless it has a point."""
    return float(digits) if "." in digits else int(digits)


def merged(settings: dict, changes: dict) -> dict:
    """The settings with changes put in, dict by dict; one that names a type takes the place of what was there."""
    result = dict(settings)
    for key, value in changes.items():
        held = result.get(key)
        mixes = isinstance(value, dict) and isinstance(held, dict) and "type" not in value
        result[key] = merged(held, value) if mixes else value
    return result
