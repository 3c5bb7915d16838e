"""What a tower in training scores on scenes that it does not see."""

import contextlib
import io
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ..evaluate.group import Group
from ..evaluate.run import Run
from ..evaluate.test import parse
from .make import make

METHODS = ("clip", "maskclip", "sclip", "naclip")
COUNT, SEED = 16, 1


def probe(folder: Path, state: dict[str, Tensor]) -> dict[str, float]:
    """mIoU of each of METHODS, measured as `sclip-seg test` does, on scenes drawn under `folder`."""
    world = folder / "world"
    make(world, COUNT, SEED, "toy_rich")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        weights = Path(place, "weights.safetensors")
        save_file(state, weights)
        options = [
            *("model.backbone.arch=toy12", f"model.backbone.pretrained={weights}", "model.text_cache=None"),
            *(f"test_dataloader.dataset.data_root={world}", "test_dataloader.num_workers=0"),
        ]
        lines = (
            [method, "--dataset", "toy_rich", "--backbone", "toy", "--work-dir", str(Path(place, method))]
            for method in METHODS
        )
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            members = Group([Run(parse([*line, "--cfg-options", *options])) for line in lines]).measure()
    if failed := [member.text for member in members if member.result is None]:
        raise RuntimeError(failed[0])
    return {name: round(member.result["miou"], 2) for name, member in zip(METHODS, members, strict=True)}
