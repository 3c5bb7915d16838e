"""What is chosen on an axis of a grid: a config by its name, one's own by its path, or a tower by open_clip's names.

`--backbone` takes ARCH/TAG of open_clip's, `hf-hub:OWNER/NAME` and `local-dir:FOLDER` beside the configs; what is known
of such weights (activation, statistics) is taken from who published them.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .choices import CONFIGS, choices, method_file
from .errors import InputError, near
from .handed_in import existing

WORDS = "_words"  # in place of a dataset: the caller's own pictures and words
PLACES = {"dataset": "datasets", "backbone": "backbones"}
SNAPSHOTS = ("hf-hub:", "local-dir:")
TOWER = 'model = dict(backbone=dict(type="DenseCLIP", arch={arch!r}, pretrained={tag!r}, quick_gelu="known"))'


def short(name: str) -> str:
    """What a choice is called in folders and results: a config's name, ARCH.TAG, the parts of a repository's name."""
    if name.endswith(".py"):
        return Path(name).stem
    return re.sub(r"[^\w.-]+", ".", name.rstrip("/")).strip(".")


def check(axis: str, name: str, have: list[str]) -> None:
    """Raises InputError for a choice that there is not, with the near ones."""
    if name in have or (axis == "backbone" and _tower(name) is not None):
        return
    if not name.endswith(".py"):
        more = "; a path of a config ends in .py" + "; a tower of open_clip's is ARCH/TAG" * (axis == "backbone")
        raise InputError(f"there is no {axis} {name!r}{near(name, have)}" + more * ("/" in name))
    if not existing(name).is_file():
        raise InputError(f"there is no config {name} for the {axis}{near(Path(name).stem, have)}")
    check_nameable(name)


def check_nameable(path: str) -> None:
    """Raises InputError for a path that no config file could name."""
    if set(path) & {'"', "'", "\\", "\n", "{", "}"}:
        raise InputError(f"the path {path!r} has quotes, braces or backslashes, which no config can name")


def check_chosen(
    methods: Iterable[str | Path] = (), datasets: Iterable[str | None] = (), backbones: Iterable[str | None] = ()
) -> None:
    """Raises InputError for a name that there is not, as `load_config` will; None is the default of an axis."""
    folders = {method_file(method).parent for method in methods} or {CONFIGS}
    for have in map(choices, folders):
        for axis, names in (("dataset", datasets), ("backbone", backbones)):
            for name in names:
                if name is not None:
                    check(axis, name, have[axis])


@contextmanager
def as_bases(
    chosen: dict[str, str | None], have: dict[str, list[str]], folder: Path
) -> Iterator[dict[str, str | None]]:
    """What is chosen on each axis as configs of `folder` name it, while the context lasts."""
    with TemporaryDirectory() as scratch:
        yield {
            axis: name if name in (None, WORDS) else as_base(axis, name, have[axis], folder, Path(scratch))
            for axis, name in chosen.items()
        }


def as_base(axis: str, name: str, have: list[str], folder: Path, scratch: Path) -> str:
    """The choice as configs of `folder` name it among their own; a tower's config is written into `scratch`."""
    check(axis, name, have)
    if name in have:
        return name
    path = existing(name)
    if axis == "backbone" and (tower := _tower(name)) is not None:
        path = scratch / f"{short(name)}.py"
        path.write_text(TOWER.format(arch=tower[0], tag=tower[1]), encoding="utf-8")
    return os.path.relpath(path.resolve(), (folder / "_base_" / PLACES[axis]).resolve()).removesuffix(".py")


def _tower(name: str) -> tuple[str, str | None] | None:
    """open_clip's model and tag of a name; None of what is none of its names."""
    if name.startswith(SNAPSHOTS):
        return name, None
    arch, slash, tag = name.partition("/")
    return (arch, tag) if arch and tag and slash and "/" not in tag and not name.endswith(".py") else None
