"""The first pictures of a dataset as a small tree of the same layout, for a trial."""

import os
from functools import partial
from pathlib import Path

from ...errors import InputError
from ...files import write_atomically
from ..check import Layout
from ..files import find_pictures, label_path
from .job import Job, run, share


def cut_subset(dataset: dict, target: Path, first: int, force: bool = False) -> int:
    """Puts the first pictures, by the list or by name, with their labels and the list under the folder `target`.

    It stands for the dataset's own `data_root`. The files are copied, or shared where the disk can do that. Returns
    the number of pictures. Raises InputError, also where `target` holds others.
    """
    layout = Layout.of(dataset)
    layout.check_present()
    pictures = find_pictures(layout.pictures, layout.picture_suffixes, layout.labels, layout.label_suffix)
    names = layout.read_names(pictures) if layout.list_file else sorted(pictures, key=pictures.__getitem__)
    names = names[:first]
    jobs = []
    for name in names:
        label = label_path(layout.labels, name, layout.label_suffix)
        for source in (Path(layout.pictures, pictures[name]), Path(label)):
            if not source.is_file():
                raise InputError(f"{source} is missing, which the subset of {first} needs")
            jobs.append(Job(_moved(source, layout, target), partial(share, source)))
    _refuse_other(target, layout, {job.target for job in jobs})
    run(jobs, force)
    if layout.list_file:
        write_atomically(_moved(Path(layout.list_file), layout, target), "".join(f"{name}\n" for name in names))
    return len(names)


def _moved(path: Path, layout: Layout, target: Path) -> Path:
    inner = os.path.relpath(path, layout.root)
    if inner.startswith(os.pardir):
        raise InputError(f"{path} is not below {layout.root}; a subset needs a dataset in one folder")
    return target / inner


def _refuse_other(target: Path, layout: Layout, wanted: set[Path]) -> None:
    """Files that another subset has left would be taken for pictures of this one."""
    folders = [_moved(Path(folder), layout, target) for folder in (layout.pictures, layout.labels)]
    found = {path for folder in folders for path in folder.rglob("[!.]*") if path.is_file()} - wanted
    if found:
        raise InputError(f"{target} holds {min(found)}, which is not of this subset; move {target} away")
