"""Training-free open-vocabulary semantic segmentation with CLIP: one toolkit for SCLIP and its kin."""

from .mmcv_shim import import_mmseg
from .version import __version__

import_mmseg()

from . import datasets, encoder, hooks, loading, methods, metric, refine, segmentor, sharing, spliced, tail  # noqa: E402, F401
from .predictor import Prediction, Predictor, load  # noqa: E402

__all__ = ["Prediction", "Predictor", "__version__", "load"]
