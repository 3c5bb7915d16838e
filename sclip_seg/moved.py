"""Modules by the names they had when all lay side by side: `sclip_seg.tail`, `sclip_seg.window`.

Whoever wrote a method or a dataset of their own against these names gets the module itself, and a DeprecationWarning
that says where it is now.
"""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SHELVES = {
    "towers": "attention block encoder guide positions tail trace weights",
    "words": "auxiliary_texts templates text vocabulary",
    "picture": "preprocessor refine scores segmentor window",
    "data": "datasets label_files labels loading pictures prepare",
    "evaluate": "grid hooks metric published_figures report result sharing",
    "show": "app predictor",
}
PLACES = {name: f"{shelf}.{name}" for shelf, names in SHELVES.items() for name in names.split()}


class Moved(MetaPathFinder, Loader):
    """Finds `sclip_seg.NAME`, and what lies below it, on the shelf that NAME is on now."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A spec for an old name, or None for any other."""
        package, _, rest = name.partition(".")
        first, *below = rest.split(".")
        if package != __package__ or first not in PLACES:
            return None
        place = ".".join([package, PLACES[first], *below])
        return ModuleSpec(name, self, loader_state=place)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module where it lies now."""
        module = import_module(spec.loader_state)
        warnings.warn(f"{spec.name} is {spec.loader_state} now", DeprecationWarning, stacklevel=2)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run under its own name."""
        module.__spec__ = module.__spec__.loader_state  # the import system has put the old name's there


def keep_old_names() -> None:
    """Lets the old names be imported from now on."""
    if not any(isinstance(finder, Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, Moved())  # before what would find the files below a package a second time
