"""Import mmseg beside mmcv-lite, which has no compiled `mmcv._ext` and so no importable `mmcv.ops`.

And on Python 3.14, which has no `pkgutil.find_loader` any more: mmengine and mmcv ask it for `mmcv._ext`.
"""

import importlib
import importlib.util
import pkgutil
import sys
import types
import warnings

MMSEG_PACKAGES = (
    "mmseg.models",
    "mmseg.datasets",
    "mmseg.evaluation",
    "mmseg.engine",
    "mmseg.visualization",
    "mmseg.apis",
)


class MissingOp:
    """Stands where mmseg keeps a compiled op, and says so when it is called or subclassed."""

    def __init__(self, name: str):
        self.name = name

    def _refuse(self, *args, **kwargs):
        raise ImportError(
            f"mmcv.ops.{self.name} is a compiled op, which mmcv-lite lacks: `pip install mmcv` has it. "
            "Nothing in sclip_seg needs it."
        )

    __call__ = __mro_entries__ = _refuse


def import_mmseg() -> None:
    """Import mmseg's packages; where mmcv has no compiled ops, with stand-ins for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
        if importlib.util.find_spec("mmcv._ext") is not None:
            _import_packages()
            return
        sys.modules["mmcv.ops"] = _stand_in()
        try:
            _import_packages()
        finally:
            # mmengine takes whatever it finds of mmcv's extension later on for the compiled one.
            del sys.modules["mmcv.ops"]


def bridge_the_standard_library() -> None:
    """What mmengine and mmcv call of it is there, on Pythons that have dropped it."""
    if not hasattr(pkgutil, "find_loader"):
        pkgutil.find_loader = _find_loader


def _find_loader(name: str) -> object:
    spec = importlib.util.find_spec(name)
    return spec and spec.loader


def _stand_in() -> types.ModuleType:
    def missing(name: str) -> MissingOp:
        # The import system asks any module for __path__, __file__ and the like: those are truly absent.
        if name.startswith("__"):
            raise AttributeError(name)
        return MissingOp(name)

    module = types.ModuleType("mmcv.ops")
    module.__getattr__ = missing
    return module


def _import_packages() -> None:
    for package in MMSEG_PACKAGES:
        importlib.import_module(package)
