"""Labels converted to what is evaluated, by the rules of the catalogue."""

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..files import find_files, read_list
from ..label_files import narrow, read_labels
from ..labels import as_picture
from .codes import matlab
from .context import convert_context
from .job import Job, run
from .patterns import root
from .reshape import plan_reshaping
from .tables import UNKNOWN, load_table

MATLAB = ".mat"


def convert(rule: dict, data: Path, first: int | None = None, force: bool = False, corrected: bool = False) -> str:
    """Converts by a rule of the catalogue, under the folder that stands for data/; says what was done.

    Raises InputError for absent or odd sources; what has been made until then stays, and the next run goes on there.
    """
    if corrected and "corrected" not in rule:
        raise InputError("--corrected is for the labels of COCO-Object only")
    if "package" in rule:
        return convert_context(rule, data, force)
    jobs = plan(rule, data, first, corrected)
    written = run(jobs, force)
    if "link" in rule:
        link(data / rule["link"]["from"], data / rule["link"]["to"])
    place = data / (root(rule["labels"]["to"]) if "labels" in rule else rule["corrected" if corrected else "target"])
    return f"{place}: {written} files written, {len(jobs) - written} were there"


def plan(rule: dict, data: Path, first: int | None = None, corrected: bool = False) -> list[Job]:
    """The files to be made, in the order of their names."""
    if "labels" in rule or "pictures" in rule:
        return plan_reshaping(rule, data, first)
    source, target = data / rule["source"], data / rule["corrected" if corrected else "target"]
    suffix, new_suffix = rule["source_suffix"], rule["target_suffix"]
    names = _listed(data / rule["list"]) if "list" in rule else _found(source, suffix, new_suffix)
    if not names:
        raise InputError(f"there is nothing to convert: no NAME{suffix} in {source}; `download` says how to get it")
    table = load_table(rule["table"], corrected)
    jobs = []
    for name in names[:first]:
        jobs.append(Job(target / (name + new_suffix), partial(_convert_file, source / (name + suffix), table)))
        if "copy" in rule:
            picture = name + rule["copy"]["suffix"]
            copied = Job(data / rule["copy"]["to"] / picture, partial(_copy, data / rule["copy"]["from"] / picture))
            jobs.append(copied)
    return jobs


def link(source: Path, target: Path) -> None:
    """A link at `target` to the folder `source`, unless something is there."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link to what has been moved away
        target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=True)


def _listed(list_file: Path) -> list[str]:
    if not list_file.is_file():
        raise InputError(f"the list file {list_file} is missing; `download` says how to get it")
    return sorted(read_list(str(list_file)))


def _found(folder: Path, suffix: str, new_suffix: str) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"the folder {folder} is missing; `download` says how to get it")
    files = find_files(str(folder), (suffix,))
    return sorted(path.removesuffix(suffix) for path in files if not path.endswith(new_suffix))


def _convert_file(source: Path, table: np.ndarray, target: Path) -> None:
    labels = matlab("S", source) if source.suffix == MATLAB else read_labels(str(source))
    values = np.unique(labels)
    odd = [int(value) for value in values if value >= len(table) or table[value] == UNKNOWN]
    if odd:
        raise InputError(f"the label map {source} has the value {odd[0]}, for which the benchmark has no class")
    as_picture(narrow(table[labels])).save(target, format="PNG")


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise InputError(f"the picture {source} is missing")
    shutil.copyfile(source, target)
