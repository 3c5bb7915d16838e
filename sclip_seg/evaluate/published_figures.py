"""Published scores as data: `published/METHOD.yaml`, each with its protocol and its source.

A file says which of its protocols `configs/METHOD.py` follows, then lists figures. Sources that differ both stand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ..choices import CONFIGS, choices
from ..errors import InputError, near
from ..handed_in import read_text

FOLDER = Path(__file__).parent / "published"
NEEDED = ("backbone", "dataset", "miou", "protocol", "source")
KEYS = (*NEEDED, "variant")


@dataclass(frozen=True)
class Figure:
    """One published mIoU in percent.

    `protocol` says whose windows, names and refinement it was measured with, `comparable` whether these are the ones
    that the method's config follows; `variant` what else differs from the method as it stands (None: nothing).
    """

    method: str
    backbone: str
    dataset: str
    miou: float
    protocol: str
    source: str
    variant: str | None = None
    comparable: bool = False


def figures(method: str, backbone: str, dataset: str) -> list[Figure]:
    """What is published for a cell, in every variant and by every protocol; in the order of the file."""
    return [f for f in _shipped() if (f.method, f.backbone, f.dataset) == (method, backbone, dataset)]


@cache
def _shipped() -> tuple[Figure, ...]:
    return tuple(load())


def load(folder: str | Path = FOLDER, configs: str | Path = CONFIGS) -> list[Figure]:
    """All figures of a folder of METHOD.yaml files.

    Names are those of the config folder, which an installation without the repository lacks: they go unchecked then.

    Raises:
        InputError: a file or an entry that breaks the schema, both named.
    """
    folder, configs = Path(folder), Path(configs)
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise InputError(f"there are no published figures (METHOD.yaml) in {folder}")
    names = choices(configs) if configs.is_dir() else {}
    return [figure for path in paths for figure in _read(path, names)]


def _read(path: Path, names: dict[str, list[str]]) -> Iterator[Figure]:
    try:
        content = yaml.safe_load(read_text(path, "the file of published figures"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {error}") from error
    _check_name(str(path), "method", path.stem, names)
    if not isinstance(content, dict) or set(content) != {"follows", "figures"}:
        raise InputError(f"{path} must have the keys 'follows' (a protocol, or null) and 'figures', and no other")
    follows, rows = content["follows"], content["figures"]
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: 'figures' must be a list of entries")
    for number, row in enumerate(rows, 1):
        where = f"{path}, entry {number}"
        _check_row(where, row, names)
        yield Figure(method=path.stem, **(row | {"miou": float(row["miou"])}), comparable=row["protocol"] == follows)
    protocols = {row["protocol"] for row in rows}
    if follows is not None and follows not in protocols:
        raise InputError(f"{path} follows the protocol {follows!r}{near(str(follows), protocols)}")


def _check_row(where: str, row: object, names: dict[str, list[str]]) -> None:
    if not isinstance(row, dict):
        raise InputError(f"{where} is no mapping of {', '.join(KEYS)}")
    for key in row:
        if key not in KEYS:
            raise InputError(f"{where} has the unknown key {key!r}{near(str(key), KEYS)}")
    for key in NEEDED:
        if row.get(key) in (None, ""):
            raise InputError(f"{where} lacks {key!r}")
    for key in ("protocol", "source", "variant"):
        if key in row and (not isinstance(row[key], str) or not row[key].strip()):
            raise InputError(f"{where}: {key!r} must be a text, not {row[key]!r}")
    miou = row["miou"]
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not 0 <= miou <= 100:
        raise InputError(f"{where}: 'miou' must be a number of 0 to 100, not {miou!r}")
    for axis in ("backbone", "dataset"):
        _check_name(where, axis, row[axis], names)


def _check_name(where: str, axis: str, name: object, names: dict[str, list[str]]) -> None:
    if names and name not in names[axis]:
        raise InputError(f"{where}: there is no {axis} {name!r}{near(str(name), names[axis])}")
