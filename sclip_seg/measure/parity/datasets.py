"""Datasets by the names that files and keys give them."""

from collections.abc import Callable
from functools import cache

from ...choices import CONFIGS, choices
from .names import UnknownName, Words

# Beside the names of our configs.
ALIASES = {"ade": "ade20k", "city_scapes": "cityscapes", "coco_stuff": "coco_stuff164k"}


@cache
def datasets() -> dict[str, str]:
    """Name -> our config's."""
    return {name: name for name in choices(CONFIGS)["dataset"]} | ALIASES


def dataset_named(called: str) -> str:
    """Our config's name of the dataset that a file calls so. Raises UnknownName."""
    if called not in datasets():
        raise UnknownName(f"there is no dataset {called!r}")
    return datasets()[called]


def dataset_words(make: Callable[[str], dict]) -> Words:
    """A word for every name; `make` says what a dataset sets."""
    return {name: lambda dataset=dataset: make(dataset) for name, dataset in datasets().items()}


def method_and_dataset(name: str) -> tuple[str, str]:
    """`METHOD_DATASET`: a method that our configs have, and our config's name of the dataset. Raises UnknownName."""
    for called in sorted(datasets(), key=len, reverse=True):
        method = name.removesuffix(f"_{called}")
        if method != name:
            if method not in choices(CONFIGS)["method"]:
                raise UnknownName(f"there is no method {method!r}")
            return method, datasets()[called]
    raise UnknownName("it ends with no dataset")
