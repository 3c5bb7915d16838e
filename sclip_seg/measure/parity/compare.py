"""The work of `sclip-seg parity`: every case of a folder of reference outputs, computed anew."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from ...errors import InputError
from .outcome import Outcome, Unknown
from .reading import examined, reader_of
from .reference import opened


def compare(folder: Path, device: str) -> int:
    """Prints a line for each case and for what is unknown. Exit status: 0, or 1 where a case is off."""
    count = failed = 0
    unknown: list[Unknown] = []
    for found in examine(folder, device_of(device)):
        if isinstance(found, Unknown):
            unknown.append(found)
            continue
        count, failed = count + 1, failed + (not found.fits)
        print("ok  " if found.fits else "FAIL", found, flush=True)
    for found in unknown:
        print(found)
    if not count:
        raise InputError(f"{folder} holds no case that is known")
    print(f"{count - failed} of {count} cases within tolerance{told_of(unknown)}")
    return 1 if failed else 0


def told_of(unknown: list[Unknown]) -> str:
    """How much is unknown, for the end of a line."""
    keys = sum(bool(found.key) for found in unknown)
    counts = (f"{len(unknown) - keys} files", len(unknown) - keys), (f"{keys} keys", keys)
    named = [f"{told[:-1] if count == 1 else told}" for told, count in counts if count]
    return f"; {' and '.join(named)} {'is' if len(unknown) == 1 else 'are'} not known" if named else ""


def device_of(name: str) -> torch.device:
    """The device of that name. Raises InputError where it cannot be had."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"the device {name} cannot be had: it is cpu or, where there is a GPU, the GPU's name"
        ) from error
    return device


def outcomes(folder: Path, device: torch.device) -> Iterator[Outcome]:
    """Every case of a folder that is known."""
    return (found for found in examine(folder, device) if isinstance(found, Outcome))


def examine(folder: Path, device: torch.device) -> Iterator[Outcome | Unknown]:
    """Every case of a folder, computed on a device in fp32 without TF32, and what is unknown there.

    Raises InputError where the folder has no recipe, or no file that a reader knows.
    """
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    files = sorted(folder.glob("*.npz"))
    with opened(folder, device) as reference:
        if not any(reader_of(path.stem) for path in files):
            raise InputError(f"{folder} holds no file that is known (visual_METHOD.npz, e2e_METHOD_DATASET.npz, ...)")
        for path in files:
            yield from examined(reference, path)
