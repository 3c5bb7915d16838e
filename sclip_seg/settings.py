"""What a setting may be is said where it is declared, in its annotation; here values are held against that.

    def __init__(self, sigma: Positive = 5.0, blocks: Count = 6, form: Literal["qk", "kk"] = "kk") -> None

A number is finite and within its range, a truth value is no number, and a text is no number either. Config files,
`--cfg-options`, the page and the Python API are refused the same things in the same words.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from .errors import InputError, near

LARGEST = 10**6  # of any number; larger ones overflow somewhere, or mean nothing
SHOWN = 60  # letters of a value that a message repeats
Part = TypeVar("Part", bound=Callable)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, in the unit of the setting; `above`: `low` itself is too little."""

    low: float = -LARGEST
    high: float = LARGEST
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a finite number lies in it."""
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        return f"above {self.low}, up to {self.high}" if self.above else f"from {self.low} to {self.high}"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Pixels = Annotated[int, Range(1, 16384)]
Real = Annotated[float, Range()]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]


def check(place: str, value: object, kind: object) -> None:
    """Raises InputError, naming `place`, where the value is not of the kind that an annotation says."""
    found = _fault(place, value, kind)
    if found:
        raise InputError(found)


def check_settings(place: str, part: Callable, settings: Mapping[str, object]) -> None:
    """Holds keyword arguments of a class or function against its annotations; a default is always of the kind."""
    for name, parameter in parameters(part).items():
        if name in settings and settings[name] is not parameter.default:
            check(f"{place}.{name}" if place else name, settings[name], parameter.annotation)


def checked(part: Part) -> Part:
    """A class, or a function, that refuses arguments which are not of their kind, or not its own."""
    function = part.__init__ if isinstance(part, type) else part
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def held(*arguments: object, **settings: object) -> object:
        name_of_part = type(arguments[0]).__name__ if isinstance(part, type) else part.__name__
        place = f"{name_of_part}." if isinstance(part, type) else ""
        try:
            given = signature.bind(*arguments, **settings).arguments
        except TypeError as error:
            raise InputError(f"{name_of_part}: {error}") from error
        for name, value in given.items():
            parameter = signature.parameters[name]
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and value is not parameter.default:
                check(place + name, value, parameter.annotation)
        return function(*arguments, **settings)

    if not isinstance(part, type):
        return held
    part.__init__ = held
    return part


@cache
def parameters(part: Callable) -> Mapping[str, inspect.Parameter]:
    """What it takes; a class that hands `**settings` on takes what its parent takes."""
    try:
        found = dict(inspect.signature(part, eval_str=True).parameters)
    except NameError:  # an annotation of a library that only its type checker can read
        found = dict(inspect.signature(part).parameters)
    spread = [name for name, parameter in found.items() if parameter.kind is parameter.VAR_KEYWORD]
    if spread == ["settings"]:
        del found["settings"]
        found |= {name: parameter for name, parameter in parameters(part.__mro__[1]).items() if name not in found}
    return MappingProxyType(found)


def _fault(place: str, value: object, kind: object) -> str | None:
    """What is wrong with a value, in words; None where it is of the kind."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _fault_of_union(place, value, inner)
    if is_typeddict(kind):
        return _fault_of_keys(place, value, kind)
    if origin in (list, Sequence) and isinstance(value, list | tuple):
        return next(filter(None, (_fault(f"{place}[{i}]", item, inner[0]) for i, item in enumerate(value))), None)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            items = zip(value, kinds, strict=True)
            return next(filter(None, (_fault(f"{place}[{i}]", *item) for i, item in enumerate(items))), None)
    if origin is dict and isinstance(value, Mapping):
        pairs = ((f"{place}.{key}", part) for key, part in value.items())
        return next(filter(None, (_fault(name, part, inner[1]) for name, part in pairs)), None)
    if _fits(value, kind):
        return None
    hint = " (a number that is meant as a text stands in quotes)" if kind is str and _is_number(value) else ""
    return f"{place} is {_shown(value)}; it must be {words(kind)}{hint}"


def _fault_of_union(place: str, value: object, kinds: Sequence[object]) -> str | None:
    faults = [_fault(place, value, kind) for kind in kinds]
    if None in faults:
        return None
    within = [fault for fault in faults if not fault.startswith(f"{place} is ")]  # the right form, a wrong part
    return within[0] if within else f"{place} is {_shown(value)}; it must be {words(Union[tuple(kinds)])}"  # noqa: UP007


def _fault_of_keys(place: str, value: object, kind: type) -> str | None:
    if not isinstance(value, Mapping):
        return f"{place} is {_shown(value)}; it must be {words(kind)}"
    known = get_type_hints(kind, include_extras=True)
    for key, part in value.items():
        if key not in known:
            return f"{place} has no key {key!r}{near(str(key), known)}"
        if found := _fault(f"{place}.{key}", part, known[key]):
            return found
    return None


def _fits(value: object, kind: object) -> bool:
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
        return _fits(value, kind) and all(limit.holds(value) for limit in limits if isinstance(limit, Range))
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if kind in (None, NoneType):
        return value is None
    if kind is bool or kind is str or kind is dict:
        return isinstance(value, kind)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return _is_number(value) and math.isfinite(value)
    if kind in (list, tuple, Sequence) or get_origin(kind) in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and not get_args(kind)  # with parts it was held against them before
    if get_origin(kind) is dict:
        return False
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**300


def words(kind: object) -> str:
    """A kind for people: 'a whole number from 1 to 1000000, or None'."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return ", or ".join(dict.fromkeys(words(part) for part in inner))
    if origin is Annotated:
        return f"{words(inner[0])} {' and '.join(str(limit) for limit in inner[1:] if isinstance(limit, Range))}"
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if origin in (list, tuple, Sequence):
        parts = dict.fromkeys(words(part) for part in inner if part is not ...)
        return f"a list of ({', '.join(parts)})"
    if is_typeddict(kind):
        return f"a dict of {', '.join(get_type_hints(kind))}"
    plain: dict[Any, str] = {
        **{bool: "True or False", int: "a whole number", float: "a finite number", str: "a text"},
        **{None: "None", NoneType: "None", dict: "a dict", list: "a list", tuple: "a list", Sequence: "a list"},
    }
    return plain.get(origin or kind, getattr(kind, "__name__", str(kind)))


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # of any object at all
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
