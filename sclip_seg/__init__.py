"""Training-free open-vocabulary semantic segmentation with CLIP: one toolkit for SCLIP and its kin.

Importing it loads no library. What of it is asked for loads what it needs, and mmseg's registries know where our parts
lie once mmseg is loaded, by whomever.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .mmseg_beside import when_mmseg_loads
from .moved import keep_old_names
from .version import __version__

if TYPE_CHECKING:
    from .show.predictor import AutoWords, Prediction, Predictor, load

__all__ = ["AutoWords", "Prediction", "Predictor", "__version__", "load"]

SHELVES = (
    *("words", "towers", "regions", "picture", "methods", "data", "evaluate", "toy"),
    *("show", "label", "students", "measure"),
)

when_mmseg_loads()
keep_old_names()


def __getattr__(name: str) -> object:
    """What is public lies with the predictor; a shelf is the package of that name."""
    if name in SHELVES:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .show import predictor

    return getattr(predictor, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *SHELVES})
