"""The regression gate: measured scores against stored expectations, each with a tolerance."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ...errors import InputError
from ...files import write_atomically
from ...handed_in import read_text
from .cell import Cell
from .run import Outcome

KEYS = {"made_with", "limit", "cfg_options", "cells"}
ENTRY = {"miou", "tolerance", "cfg_options"}


@dataclass(frozen=True)
class Expectations:
    """What a file of expectations holds: the grid's own settings, and mIoU and tolerance of each cell."""

    limit: int | None
    options: tuple[str, ...]
    cells: tuple[Cell, ...]
    expected: dict[str, tuple[float, float]]

    def drifts(self, outcomes: Sequence[Outcome]) -> list[str]:
        """A line for each finished cell that is further off than its tolerance, or has no expectation."""
        lines = []
        for outcome in outcomes:
            if outcome.result is None:
                continue
            key, miou = outcome.request.cell.key, outcome.result["miou"]
            if key not in self.expected:
                lines.append(f"{key}: no expectation is stored; measured {miou:.2f}")
                continue
            expected, tolerance = self.expected[key]
            if not abs(miou - expected) <= tolerance:
                off = f"{miou - expected:+.2f}, tolerance {tolerance:g}"
                lines.append(f"{key}: measured {miou:.2f}, expected {expected:.2f} ({off})")
        return lines


def store(path: Path, outcomes: Sequence[Outcome], tolerance: float, command: str) -> None:
    """Writes what was measured as YAML or (.json) JSON. Raises InputError unless all cells have a result."""
    unfinished = [outcome.request.cell.key for outcome in outcomes if outcome.result is None]
    if unfinished or not outcomes:
        raise InputError(f"{path} is not written: {', '.join(unfinished) or 'no cell'} has no result")
    first = outcomes[0].request
    content = {
        "made_with": command,
        "limit": first.limit,
        "cfg_options": list(first.options),
        "cells": {
            outcome.request.cell.key: {
                "miou": round(outcome.result["miou"], 4),
                "tolerance": tolerance,
                "cfg_options": list(outcome.request.cell.options),
            }
            for outcome in outcomes
        },
    }
    is_json = path.suffix == ".json"
    write_atomically(
        path, json.dumps(content, indent=2) + "\n" if is_json else yaml.safe_dump(content, sort_keys=False)
    )


def load(path: Path) -> Expectations:
    """Reads what `store` writes. Raises InputError naming file and entry."""
    try:
        content = yaml.safe_load(read_text(path, "the file of expectations"))  # JSON is YAML
    except yaml.YAMLError as error:
        raise InputError(f"the expectations {path} are neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict) or "cells" not in content or set(content) - KEYS:
        raise InputError(f"{path} must have the key 'cells', and none but {', '.join(sorted(KEYS))}")
    limit, cells = content.get("limit"), content["cells"]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"{path}: 'limit' must be a number of pictures or null, not {limit!r}")
    if not isinstance(cells, dict) or not cells:
        raise InputError(f"{path}: 'cells' must map METHOD/BACKBONE/DATASET to mIoU and tolerance")
    made = {str(key): _entry(f"{path}, cell {key}", str(key), entry) for key, entry in cells.items()}
    return Expectations(
        limit=limit,
        options=_options(str(path), content),
        cells=tuple(cell for cell, _ in made.values()),
        expected={key: values for key, (_, values) in made.items()},
    )


def _entry(where: str, key: str, entry: object) -> tuple[Cell, tuple[float, float]]:
    if key.count("/") != 2:
        raise InputError(f"{where}: a cell is called METHOD[-VARIANT]/BACKBONE/DATASET")
    if not isinstance(entry, dict) or not {"miou", "tolerance"} <= set(entry) <= ENTRY:
        raise InputError(f"{where} must have 'miou' and 'tolerance', and none but {', '.join(sorted(ENTRY))}")
    numbers = entry["miou"], entry["tolerance"]
    for name, number in zip(("miou", "tolerance"), numbers, strict=True):
        is_number = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        if not is_number or number < 0:
            raise InputError(f"{where}: {name!r} must be a number of at least 0, not {number!r}")
    row, backbone, dataset = key.split("/")
    method, _, variant = row.partition("-")
    return Cell(method, dataset, backbone, variant or None, _options(where, entry)), numbers


def _options(where: str, content: dict) -> tuple[str, ...]:
    options = content.get("cfg_options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InputError(f"{where}: 'cfg_options' must be a list of KEY=VALUE")
    return tuple(options)
