"""A model of a config, on the device that is asked for."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import MODELS

from ..errors import InputError
from ..picture.segmentor import OpenVocabSegmentor


def built(config: Config) -> OpenVocabSegmentor:
    """The model. Raises InputError for a value that does not fit."""
    try:
        return MODELS.build(config.model)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError) as error:  # a value of the wrong kind
        raise InputError(f"the config does not build: {error}") from error


def place(model: OpenVocabSegmentor, device: str | torch.device | None) -> None:
    """Moves it there; None is the fastest at hand. Raises InputError for a device that cannot be had."""
    device = get_device() if device is None else device
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device {device} cannot be had: {str(error).splitlines()[0]}") from error
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InputError(f"the device {device} cannot be had: it computes nothing")
