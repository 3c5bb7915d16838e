"""A memory beside the words of any method: which settings this changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config import load_config
from ..errors import InputError
from ..regions.memory import RegionMemory
from .result import describe, without_places


def with_memory(
    options: dict,
    method: str | Path,
    dataset: str | None,
    backbone: str | None,
    memory: str,
    weight: float | None = None,
    silent: Sequence[str] = (),
) -> dict:
    """Settings on top of a method's (`a.b.c` -> value) with that memory. Raises InputError where it does not fit.

    `silent`: classes whose words are not asked.
    """
    model = load_config(method, dataset, backbone, options).model
    made, tail = RegionMemory.load(memory).made.get("tail"), tail_of(model)
    if made != tail:
        raise InputError(f"the memory {memory} is of features by {made}, and {tail} gives others")
    stage = {"type": "Memory", "memory": memory, "scale": model.get("logit_scale", 40.0)}
    stage |= {} if weight is None else {"weight": weight}
    stage |= {"wordless": list(silent)} if silent else {}
    return {**options, "model.stages": [*model.get("stages", []), stage], "model.logit_scale": None}


def tail_of(model: dict) -> str:
    """Who made features, in the words of a signature."""
    return describe(without_places(model["backbone"]["tail"]))


def wordless(memory: str | RegionMemory, classes: Sequence[Sequence[str]]) -> list[str]:
    """The names in a memory that no class has: they become classes that are known by it alone."""
    memory = memory if isinstance(memory, RegionMemory) else RegionMemory.load(memory)
    known = {query.lower() for queries in classes for query in queries}
    return [name for name in memory.own_names if name.lower() not in known and name != "background"]
