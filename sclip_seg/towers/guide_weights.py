"""From timm's name to a loaded guide: its file is found, read as data, and must be the model's own, patch for patch."""

import difflib
from pathlib import Path

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from ..errors import InputError
from . import checkpoint, snapshot, weights
from .layouts import other_layout, unwrapped

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
TOY = Path(__file__).parents[1] / "toy" / "guide.safetensors"
PATCHES = ("patch_embed.proj.weight", "visual.conv1.weight")  # timm's name, and CLIP's, which timm takes too
# Options of timm's that name weights, which are read here and not there.
NOT_OPTIONS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "in_chans"}


def build(arch: str, pretrained: str | None, options: dict, folder: str, seed: int) -> nn.Module:
    """timm's model with the weights that `pretrained` names (`guide._TimmModel`), in eval mode. Raises InputError."""
    if not isinstance(arch, str) or not timm.is_model(arch):
        near = difflib.get_close_matches(str(arch), timm.list_models(pretrained=True), n=3)
        like = f"; near: {', '.join(near)}" * bool(near)
        raise InputError(f"timm {timm.__version__} has no model {arch!r}{like}; a later one may (pip install -U timm)")
    if not_ours := NOT_OPTIONS & options.keys():
        raise InputError(
            f"a guide's options hold {min(not_ours)!r}; its weights are named by `pretrained` and `folder`"
        )
    if not isinstance(pretrained, str | None):
        raise InputError(f"the guide's pretrained is {pretrained!r}; it is 'timm', 'toy', a path or None")
    path = TOY if pretrained == "toy" else _file(arch, pretrained, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = timm.create_model(arch, pretrained=False, **options).eval()
    except Exception as error:  # timm raises what it likes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"timm cannot build {arch} with the options {options}: {reason}") from error
    if pretrained is not None and isinstance(model, VisionTransformer | VisionTransformerSAM):  # others are refused
        _load(model, path or _fetched(arch, model.pretrained_cfg, folder), arch)
    return model


def _load(model: nn.Module, path: Path, arch: str) -> None:
    """Fills timm's model from a file in timm's names, or those of the authors that timm knows."""
    try:
        state = unwrapped(checkpoint.read(path, checkpoint.AVERAGES).state, path, PATCHES)
    except InputError as error:
        raise InputError(f"the guide {arch}: {error}") from error
    own = model.state_dict()
    _refuse_other_shapes(state, model, path, arch)
    if isinstance(model, VisionTransformerSAM):
        state = {name.replace("mlp.lin", "mlp.fc"): tensor for name, tensor in state.items()}
    else:
        try:
            converted = checkpoint_filter_fn(dict(state), model, adapt_layer_scale=True)
        except Exception as error:  # names of some other layout
            raise InputError(f"{path} does not fit {arch}: its names are none that timm knows") from error
        kernel = converted.get(PATCHES[0])
        if kernel is not None and not any(kernel is tensor for tensor in state.values()):
            raise InputError(f"{path} does not fit {arch}: its patches are of another layout, and would be resampled")
        state = converted
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    state = {name: tensor for name, tensor in state.items() if name in own or not name.startswith(heads)}
    if state.keys() != own.keys() and "patch_embed.proj.weight" not in state and (layout := other_layout(set(state))):
        raise InputError(f"{path} does not fit {arch}: it holds {layout}")
    weights.fill(model, state, path, arch)


def _refuse_other_shapes(state: dict[str, Tensor], model: nn.Module, path: Path, arch: str) -> None:
    """timm would resample another patch and another grid of positions without a word."""
    wanted = tuple(model.patch_embed.proj.weight.shape)
    for name, kernel in state.items():
        if name.endswith(PATCHES) and tuple(kernel.shape) != wanted:
            theirs, ours = ("x".join(map(str, shape[1:])) for shape in (kernel.shape, wanted))
            raise InputError(
                f"{path} does not fit {arch}: its patches are {theirs} (channels, height, width), not {ours}"
            )
    own, patches = getattr(model, "pos_embed", None), model.patch_embed.num_patches
    if own is None or isinstance(model, VisionTransformerSAM):
        return
    for name, table in state.items():
        # DINOv2's own files have a position for the class token, which timm adds to that.
        if name.endswith("pos_embed") and (
            table.ndim != 3 or table.shape[1] - patches not in {0, 1, own.shape[1] - patches}
        ):
            raise InputError(
                f"{path} does not fit {arch}: its table of positions is {tuple(table.shape)}, and the model's, "
                f"of {patches} patches, {tuple(own.shape)}"
            )


def on_disk(arch: str, pretrained: str | None, folder: str) -> Path | None:
    """The file that `build` would read if it is on this machine; no network."""
    if pretrained in ("toy", None):
        return TOY
    if pretrained != "timm":
        path = Path(pretrained).expanduser()
        return path if path.is_file() else snapshot.on_disk(pretrained)
    source = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
    repository = source and source.hf_hub_id
    return _file(arch, pretrained, folder) or (
        snapshot.on_disk(repository, _names_on_hub(source.hf_hub_filename)) if repository else None
    )


def _names_on_hub(name: str | None) -> tuple[str, ...]:
    return (name,) if name else ("model.safetensors", "pytorch_model.bin")


def _file(arch: str, pretrained: str | None, folder: str) -> Path | None:
    """The local weight file that is meant, if one is."""
    if pretrained is None:
        return None
    if pretrained != "timm":
        path = Path(pretrained).expanduser()
        if snapshot.is_named(pretrained) or path.is_dir():
            return snapshot.weights_in(pretrained)
        if not path.is_file():
            raise InputError(f"the guide's weights {pretrained} are missing (working folder {Path.cwd()})")
        return path
    return next((p for p in (Path(folder) / f"{arch}{suffix}" for suffix in SUFFIXES) if p.is_file()), None)


def _fetched(arch: str, source: dict, folder: str) -> Path:
    """The file that timm's tag stands for, from the hub's cache or downloaded."""
    repository = source.get("hf_hub_id")
    wanted = Path(folder) / f"{arch}.safetensors"
    if not repository:
        raise InputError(
            f"timm has no weights of {arch} on the hub; name a file as `pretrained`, or put it at {wanted}"
        )
    try:
        return snapshot.from_hub(repository, _names_on_hub(source.get("hf_hub_filename")))
    except InputError as error:
        raise InputError(
            f"the weights of {arch} cannot be had from timm; offline, put the file at {wanted} "
            f"(https://huggingface.co/{repository}, model.safetensors), or name a file as `pretrained` ({error})"
        ) from error
