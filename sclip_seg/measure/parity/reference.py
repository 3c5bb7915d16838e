"""A folder of reference outputs: its recipe, and towers with the recipe's weights."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from unittest.mock import patch

import open_clip
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ...command import one_line
from ...errors import InputError
from ...towers.encoder import DenseCLIP
from ...towers.radio import SHAPES, WORDS, Shape, Words
from ...words.text import TextBank

KEPT = 4  # towers; a file's cases share one or two
ARCH = "parity"  # open_clip's name of the recipe's tower
RADIO, READER = "parity-radio", "parity-words"  # and of that of `recipe_radio.py`, and the one that reads its words


def told(error: Exception) -> str:
    """Its kind and what it says, in a line."""
    return f"{type(error).__name__}: {one_line(error)}"


class Placed:
    """The functions of `recipe.py`, the tensors that they make put on a device; and its constants."""

    def __init__(self, recipe: ModuleType, device: torch.device) -> None:
        self.recipe, self.device = recipe, device

    def __getattr__(self, name: str) -> object:
        found = getattr(self.recipe, name)
        if not callable(found):
            return found
        return lambda *values, **options: tree_map(self._place, found(*values, **options))

    def _place(self, made: object) -> object:
        return made.to(self.device) if isinstance(made, Tensor) else made


class Reference:
    """A folder and what its recipe makes, on a device. Towers and their configs are kept in `scratch`."""

    def __init__(self, folder: Path, scratch: Path, device: torch.device) -> None:
        self.folder, self.scratch, self.device = folder, scratch, device
        recipe = _module(folder / "recipe.py")
        self.recipe = Placed(recipe, device)
        self.weights = scratch / "parity.pt"
        try:
            torch.save(recipe.tiny_state_dict(), self.weights)
            self.arch()
        except Exception as error:
            raise InputError(
                f"{folder / 'recipe.py'} makes no tower: {type(error).__name__}: {one_line(error)}"
            ) from error
        self._towers: dict[str, DenseCLIP] = {}

    def arch(self, heads: int | None = None) -> str:
        """open_clip's name of the recipe's tower, or of the same weights read as so many heads."""
        r = self.recipe
        name = ARCH if heads in (None, r.VH) else f"{ARCH}-heads{heads}"
        if r.VW % (heads or r.VH):
            raise ValueError(f"{heads} heads do not divide a width of {r.VW}")
        vision = {"image_size": r.RES, "layers": r.VL, "width": r.VW, "patch_size": r.PATCH}
        text = {"context_length": r.CTX, "vocab_size": r.VOCAB, "width": r.TW, "heads": r.TH, "layers": r.TL}
        config = {
            "embed_dim": r.EMB,
            "quick_gelu": True,
            "vision_cfg": vision | {"head_width": r.VW // (heads or r.VH)},
            "text_cfg": text,
        }
        path = self.scratch / f"{name}.json"
        if not path.is_file():
            path.write_text(json.dumps(config))
            open_clip.add_model_config(path)
        return name

    @cached_property
    def radio(self) -> ModuleType:
        """`recipe_radio.py`, whose tower is then known as `RADIO`, its weights at `radio_weights`."""
        with patch.dict(sys.modules, recipe=self.recipe.recipe):
            made = _module(self.folder / "recipe_radio.py")
        torch.save(made.radio_checkpoint(), self.radio_weights)
        reader = open_clip.get_model_config(self.arch())
        reader["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
        path = self.scratch / f"{READER}.json"
        path.write_text(json.dumps(reader))
        open_clip.add_model_config(path)
        sizes = dict(patch=made.PATCH, table=made.GRID, native=14, prefix=len(made.TEACHERS) + made.REGISTERS)
        SHAPES[RADIO] = Shape(made.W, made.DEPTH, made.HEADS, layer_scale=True, words=READER, **sizes)
        WORDS[READER] = Words(READER, str(self.weights))
        return made

    @property
    def radio_weights(self) -> Path:
        """NVIDIA's layout."""
        return self.scratch / "radio.pth.tar"

    def backbone(self, tail: dict, heads: int | None = None, radio: bool = False, **settings: object) -> DenseCLIP:
        """The recipe's tower, or that of RADIO, with a tail; `settings` are those of `DenseCLIP`."""
        key = json.dumps([tail, heads, radio, settings], sort_keys=True)
        if key not in self._towers:
            while len(self._towers) >= KEPT:
                del self._towers[next(iter(self._towers))]
            named = (RADIO, self.radio_weights) if radio and self.radio else (self.arch(heads), self.weights)
            built = DenseCLIP(named[0], str(named[1]), tail, **settings)
            self._towers[key] = built.to(self.device)
        return self._towers[key]

    def input(self, name: str) -> Tensor:
        """`tiny_input` of the recipe, (1, 3, H, W). Raises InputError for a name that it does not know."""
        try:
            return self.recipe.tiny_input(name)
        except Exception as error:
            raise InputError(
                f"recipe.py makes no input {name!r} ({type(error).__name__}: {one_line(error)})"
            ) from error

    def queries(self) -> TextBank:
        """The recipe's queries, each a class."""
        features = self.recipe.tiny_queries()
        return TextBank(features, torch.arange(len(features)), len(features)).to(features)


@contextmanager
def opened(folder: Path, device: torch.device) -> Iterator[Reference]:
    """The reference of a folder. Raises InputError where its recipe is missing or broken."""
    if not (folder / "recipe.py").is_file():
        raise InputError(f"{folder} holds no reference outputs (recipe.py is missing)")
    with TemporaryDirectory() as scratch:
        yield Reference(folder, Path(scratch), device)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_recipe", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path} does not load: {told(error)}") from error
    return module
