"""From the three axes (method, dataset, backbone) to one resolved config."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger

from .errors import InputError

AXES = {"dataset": "SCLIP_DATASET", "backbone": "SCLIP_BACKBONE"}
KEYS = {
    *("model", "dataset", "settings", "protocol", "published", "axes"),
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


def choices(folder: Path) -> dict[str, list[str]]:
    """What lies in a config folder: names of methods, datasets and backbones."""
    return {
        "method": _names(folder),
        "dataset": _names(folder / "_base_" / "datasets"),
        "backbone": _names(folder / "_base_" / "backbones"),
    }


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def load_config(
    path: str | Path, dataset: str | None = None, backbone: str | None = None, options: dict | None = None
) -> Config:
    """The config file `path` with the two other axes chosen by name, then `options` (`a.b.c` -> value) on top.

    The variables that the config files read are set for the time of the call only, so that none set in the shell
    leaks in. `config.axes` says what was chosen.

    Raises:
        InputError: no such file or name (with the near ones), a file that does not load, an unknown key.
    """
    path = Path(path)
    have = choices(path.parent)
    if not path.is_file():
        raise InputError(f"there is no config {path}{near(path.stem, have['method'])}")
    chosen = {"dataset": dataset, "backbone": backbone}
    for axis, name in chosen.items():
        if name is not None and name not in have[axis]:
            raise InputError(f"there is no {axis} {name!r}{near(name, have[axis])}")
    config = _read(path, chosen)
    unknown = sorted(set(config.keys()) - KEYS)
    if unknown:
        raise InputError(f"{path} has the unknown key {unknown[0]!r}{near(unknown[0], KEYS)}")
    for key in options or {}:
        if key.split(".")[0] not in KEYS:
            raise InputError(f"--cfg-options names the unknown key {key!r}{near(key.split('.')[0], KEYS)}")
    try:
        config.merge_from_dict(options or {})
    except Exception as error:
        raise InputError(f"--cfg-options {options} cannot be applied: {error}") from error
    return config


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
    """`; did you mean ...` with the near names, else the list of all."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are: {', '.join(names)}" if names else ""
