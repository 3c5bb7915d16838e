"""Training-free open-vocabulary semantic segmentation with CLIP: one toolkit for SCLIP and its kin."""

from .mmcv_shim import import_mmseg
from .moved import keep_old_names
from .version import __version__

import_mmseg()
keep_old_names()

from . import methods  # noqa: E402, F401
from .data import datasets, loading  # noqa: E402, F401
from .evaluate import hooks, metric, sharing  # noqa: E402, F401
from .picture import refine, segmentor, stages  # noqa: E402, F401
from .show.predictor import Prediction, Predictor, load  # noqa: E402
from .towers import encoder, tail  # noqa: E402, F401

__all__ = ["Prediction", "Predictor", "__version__", "load"]
