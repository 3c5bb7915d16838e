"""Networks of transformers that find masks: a checkpoint's weights, as data, and its way of preparing a picture."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..errors import InputError
from ..towers import weights


def load(network: str, processor: str, checkpoint: str) -> tuple[nn.Module, object]:
    """transformers' classes of those names for a checkpoint: a name on the hub, or a folder; in eval mode, fp32.

    Raises InputError: no transformers, or too old a one; no such checkpoint, or one of something else.
    """
    try:
        import transformers

        classes = getattr(transformers, network), getattr(transformers, processor)
    except (ImportError, AttributeError) as error:
        raise InputError(f"regions by {network} need transformers from 4.56 on: pip install .[regions]") from error
    name = place(checkpoint)
    try:
        model, report = classes[0].from_pretrained(name, use_safetensors=True, output_loading_info=True)
        prepare = classes[1].from_pretrained(name)
    except Exception as error:  # transformers, the hub and safetensors raise what they like
        raise InputError(
            f"the checkpoint {checkpoint!r} of {network} is not on this machine and could not be downloaded, or is "
            "unreadable.\n  Fetch it elsewhere, from https://huggingface.co, and give as checkpoint the folder that it "
            "lies in: FOLDER/config.json, FOLDER/preprocessor_config.json and FOLDER/model.safetensors."
        ) from error
    refuse_unfit(checkpoint, network, report["missing_keys"], model.state_dict())
    return model.float().eval().requires_grad_(False), prepare


def place(checkpoint: str) -> str:
    """A name on the hub as it is, a folder's without `~`."""
    folder = Path(checkpoint).expanduser()
    return str(folder) if folder.is_dir() else checkpoint


def refuse_unfit(checkpoint: str, what: str, missing: Iterable[str], state: dict[str, Tensor]) -> None:
    """Raises InputError where weights are missing or no numbers."""
    if lacking := sorted(missing):
        raise InputError(f"{checkpoint!r} is no {what}: {len(lacking)} weights missing, e.g. {lacking[0]}")
    if broken := sorted(name for name, tensor in state.items() if not tensor.float().isfinite().all()):
        raise InputError(f"{checkpoint!r} has NaN or infinite numbers in {len(broken)} tensors, e.g. {broken[0]}")


def base_name(checkpoint: str) -> str:
    """Without the folder that it lies in."""
    return Path(checkpoint).name


def digest(model: nn.Module) -> str:
    """Of all weights."""
    return weights.digest(model)


def pixels(prepare: object, picture: np.ndarray, model: nn.Module) -> Tensor:
    """A picture (H, W, 3) as the network takes it, (1, 3, h, w), where it is."""
    like = next(model.parameters())
    return prepare(images=picture, return_tensors="pt")["pixel_values"].to(like)
