"""From the three axes (method, dataset, backbone) to one resolved config."""

import difflib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import Registry
from mmseg.registry import DATA_SAMPLERS, LOOPS, METRICS, MODELS, TRANSFORMS
from torch.utils.data import DataLoader

from .errors import InputError
from .registry import ATTENTION, GUIDES, STEPS, TAILS

PLACES = (Path(__file__).parents[1] / "configs", Path(sys.prefix) / "share" / "sclip_seg" / "configs")
CONFIGS = next((place for place in PLACES if place.is_dir()), PLACES[0])
WORDS = "_words"  # in place of a dataset: the caller's own pictures and words
AXES = {"dataset": "SCLIP_DATASET", "backbone": "SCLIP_BACKBONE"}
KEYS = {
    *("model", "dataset", "settings", "protocol", "published", "tuned", "crop", "toy_guide", "axes", "pack", "words"),
    *("test_dataloader", "test_evaluator", "test_cfg", "test_pipeline"),
    *(
        "default_scope",
        "custom_imports",
        "default_hooks",
        "custom_hooks",
        "env_cfg",
        "log_level",
        "log_processor",
    ),
    *(
        "launcher",
        "model_wrapper_cfg",
        "randomness",
        "resume",
        "load_from",
        "visualizer",
        "vis_backends",
        "work_dir",
    ),
    "experiment_name",
}
NEEDED = ("axes", "model", "test_dataloader", "test_evaluator", "test_cfg")
# Keys that the files use up while they load, and what to do instead of overriding them.
USED_UP = {
    "axes": "choose with CONFIG, --dataset and --backbone",
    "dataset": "override test_dataloader.dataset",
    "pack": "override test_dataloader.dataset.pipeline",
    "crop": "override test_dataloader.dataset.pipeline",
    **dict.fromkeys(("settings", "protocol", "published", "tuned", "toy_guide", "words"), "override model"),
}
# Where a config names a type, and the shelf it stands on. The dataset's own keys are `data_check`'s.
SHELVES = {
    "model": MODELS,
    "model.backbone": MODELS,
    "model.backbone.tail": TAILS,
    "model.backbone.tail.attention": ATTENTION,
    "model.backbone.tail.guide": GUIDES,
    "model.backbone.tail.affinity": GUIDES,
    "model.refine": STEPS,
    "test_dataloader.sampler": DATA_SAMPLERS,
    "test_dataloader.dataset.pipeline": TRANSFORMS,
    "test_pipeline": TRANSFORMS,
    "test_evaluator": METRICS,
    "test_cfg": LOOPS,
}
LISTED = 30  # names; more of them help nobody


def choices(folder: Path) -> dict[str, list[str]]:
    """What lies in a config folder: names of methods, datasets and backbones."""
    return {
        "method": names_in(folder),
        "dataset": names_in(folder / "_base_" / "datasets"),
        "backbone": names_in(folder / "_base_" / "backbones"),
    }


def names_in(folder: Path) -> list[str]:
    """The configs of a folder; a name that begins with _ is not for choosing."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def load_config(
    path: str | Path, dataset: str | None = None, backbone: str | None = None, options: dict | None = None
) -> Config:
    """The config file `path` with the two other axes chosen by name, then `options` (`a.b.c` -> value) on top.

    The variables that the config files read are set for the time of the call only, so that none set in the shell
    leaks in. `config.axes` says what was chosen.

    Raises:
        InputError: no such file or name (with the near ones), a file that does not load, an unknown key or type.
    """
    path = Path(path)
    have = choices(path.parent)
    if not path.is_file():
        raise InputError(f"there is no config {path}{near(path.stem, have['method'])}")
    chosen = {"dataset": dataset, "backbone": backbone}
    for axis, name in chosen.items():
        if name not in (None, WORDS, *have[axis]):
            raise InputError(f"there is no {axis} {name!r}{near(name, have[axis])}")
    config = _read(path, chosen)
    unknown = sorted(set(config.keys()) - KEYS)
    if unknown:
        raise InputError(f"{path} has the unknown key {unknown[0]!r}{near(unknown[0], KEYS)}")
    absent = [key for key in NEEDED if key not in config]
    if absent:
        raise InputError(f"{path} is no method's config, it lacks {', '.join(absent)}{near('', have['method'])}")
    for key in options or {}:
        top = key.split(".")[0]
        if top not in KEYS:
            raise InputError(f"--cfg-options names the unknown key {key!r}{near(top, KEYS)}")
        if top in USED_UP:
            raise InputError(f"--cfg-options {key} would change nothing; {USED_UP[top]}")
    try:
        config.merge_from_dict(options or {})
    except Exception as error:
        raise InputError(f"--cfg-options {options} cannot be applied: {error}") from error
    check_parts(config)
    for key in ("load_from", "resume"):  # mmengine would unpickle what they name
        if config.get(key):
            raise InputError(
                f"{key} is no setting here: weights are model.backbone.pretrained, a run goes on by --resume"
            )
    return config


def check_parts(config: Config) -> None:
    """Every `type` stands on its shelf, and takes the keys beside it. Raises InputError, with the near names."""
    for place, shelf in SHELVES.items():
        for part in _parts(config, place):
            _check_part(place, part, shelf)
    _check_keys("test_dataloader", config.test_dataloader, [*inspect.signature(DataLoader).parameters])


def _parts(config: Config, place: str) -> Iterator[dict | str]:
    """What stands at `a.b.c`: nothing, one part, or each of several."""
    for key in place.split("."):
        config = config.get(key) if isinstance(config, dict | Config) else None
    if config is not None:
        yield from config if isinstance(config, list | tuple) else [config]


def _check_part(place: str, part: dict | str, shelf: Registry) -> None:
    keys = part if isinstance(part, dict) else {"type": part}
    kind = keys.get("type")
    found = shelf.get(kind) if isinstance(kind, str) else kind
    if found is None:
        names = shelf.module_dict.keys() | (shelf.parent.module_dict.keys() if shelf.parent else set())
        raise InputError(f"{place} is of type {kind!r}, and there is no such {shelf.name}{near(str(kind), names)}")
    parameters = _parameters(found)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        # An attention's first parameter is what it looks at, no option.
        _check_keys(f"{place} ({kind})", keys, [*parameters][shelf is ATTENTION :])


def _parameters(part: type | Callable) -> dict[str, inspect.Parameter]:
    """What it takes; a class that hands `**settings` on takes what its parent takes."""
    parameters = dict(inspect.signature(part).parameters)
    spread = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    if spread == ["settings"]:
        del parameters["settings"]
        parameters |= _parameters(part.__mro__[1])
    return parameters


def _check_keys(what: str, keys: Iterable[str], known: Iterable[str]) -> None:
    for key in keys:
        if key not in ("type", *known):
            raise InputError(f"{what} has no key {key!r}{near(key, known)}")


def _read(path: Path, chosen: dict[str, str | None]) -> Config:
    shell = {variable: os.environ.pop(variable, None) for variable in AXES.values()}
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")  # mmengine reports every variable that it puts in
    try:
        os.environ.update({AXES[axis]: name for axis, name in chosen.items() if name is not None})
        return Config.fromfile(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the config {path} does not load: {type(error).__name__}: {error}") from error
    finally:
        logger.setLevel(level)
        for variable, value in shell.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value


def near(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...` with the near names, else the list of all, unless it is long."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are: {', '.join(names)}" if 0 < len(names) <= LISTED else ""
