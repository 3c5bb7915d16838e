"""Label values as downloaded to label values as evaluated: (256,) int16 tables, `UNKNOWN` where there is no rule."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from ...errors import InputError
from ..labels import IGNORE

UNKNOWN = -1
# COCO numbers its things 0 to 90; these numbers have been given up.
NO_THINGS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
# The stored ids of the 19 classes that Cityscapes evaluates, in the order of their train ids, of the ids 0 to 33.
EVALUATED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LAST_ID = 33


def load_table(name: str, corrected: bool = False) -> np.ndarray:
    """The table of this name: `things`, `train_ids`, or that of mmsegmentation's converter NAME.

    `corrected` is for things only: unlabelled pixels stay ignored.
    """
    if name == "things":
        return things(keep_ignored=corrected)
    return train_ids() if name == "train_ids" else converter_table(name)


def things(keep_ignored: bool) -> np.ndarray:
    """COCO-Stuff's maps to background (0) and the 80 things: 255 is background as released, or stays 255."""
    table = np.zeros(256, np.int16)
    table[[value for value in range(91) if value not in NO_THINGS]] = range(1, 81)
    if keep_ignored:
        table[IGNORE] = IGNORE
    return table


def train_ids() -> np.ndarray:
    """Cityscapes' ids to its 19 classes; every other id is ignored."""
    table = np.full(256, UNKNOWN, np.int16)
    table[: LAST_ID + 1] = IGNORE
    table[list(EVALUATED_IDS)] = range(len(EVALUATED_IDS))
    return table


def converter_table(name: str) -> np.ndarray:
    """The table inside mmsegmentation's converter NAME.

    Its own run insists on all training labels, writes over what is there and cannot be taken up again.
    """
    table = np.full(256, UNKNOWN, np.int16)
    for value, label in load_converter(name).clsID_to_trID.items():
        table[value] = label
    return table


def load_converter(name: str) -> ModuleType:
    """mmsegmentation's converter NAME as a module."""
    path = converter_path(name)
    spec = importlib.util.spec_from_file_location(f"mmseg_converter_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def converter_path(name: str) -> Path:
    """mmsegmentation's converter NAME, which its wheel brings. Raises InputError."""
    root = importlib.util.find_spec("mmseg").submodule_search_locations[0]
    path = Path(root, ".mim", "tools", "dataset_converters", f"{name}.py")
    if not path.is_file():
        raise InputError(f"this installation of mmsegmentation lacks its converter {path}; install it from its wheel")
    return path
