"""From the three axes (method, dataset, backbone) to one resolved config."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypedDict, get_type_hints

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import Registry
from mmseg.registry import DATA_SAMPLERS, DATASETS, LOOPS, METRICS, MODELS, TRANSFORMS

from . import axes
from .axes import WORDS as WORDS
from .choices import CONFIGS as CONFIGS
from .choices import choices as choices
from .choices import method_file as method_file
from .choices import names_in as names_in
from .errors import InputError, near
from .options import put
from .registry import ATTENTION, GUIDES, REGIONS, RERANKERS, STAGES, STEPS, TAILS
from .settings import Count, Natural, NonNegative, Range, Seed, check, check_settings, parameters

AXES = {"dataset": "SCLIP_DATASET", "backbone": "SCLIP_BACKBONE"}
KEYS = {
    *(
        "model",
        "dataset",
        "settings",
        "protocol",
        "published",
        "tuned",
        "crop",
        "toy_guide",
        "toy_regions",
        "axes",
        "pack",
        "words",
    ),
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
    **dict.fromkeys(
        ("settings", "protocol", "published", "tuned", "toy_guide", "toy_regions", "words"), "override model"
    ),
}


class Loader(TypedDict, total=False):
    """What of torch's DataLoader may be set: nothing that would leave out or repeat a picture."""

    batch_size: Count
    num_workers: Natural
    persistent_workers: bool
    pin_memory: bool
    prefetch_factor: Count | None
    timeout: NonNegative
    sampler: dict
    dataset: dict


class Randomness(TypedDict, total=False):
    """mmengine's."""

    seed: Seed | None
    deterministic: bool
    diff_rank_seed: bool


class Loop(TypedDict, total=False):
    """mmengine's, without its `fp16`: the precision is the model's, and stands in the signature."""

    type: Literal["TestLoop"]


class DatasetKeys(TypedDict, total=False):
    """Of mmseg's datasets."""

    type: str
    data_root: str | None
    data_prefix: dict[str, str]
    ann_file: str
    img_suffix: str
    seg_map_suffix: str
    reduce_zero_label: bool
    ignore_index: Annotated[int, Range(0, 65535)]
    indices: Count | list[Natural] | None
    metainfo: dict | None
    pipeline: list[dict]
    max_refetch: Natural
    test_mode: bool
    lazy_init: bool
    serialize_data: bool


KINDS = {
    "model": dict,
    "test_dataloader": Loader,
    "test_evaluator": dict,
    "test_cfg": Loop,
    "randomness": Randomness,
    "launcher": Literal["none", "pytorch", "slurm", "mpi"],
    "log_level": str,
    "work_dir": str | None,
    "experiment_name": str | None,
    "default_scope": Literal["mmseg"],
    "custom_hooks": list[dict],
    "default_hooks": dict[str, dict | None],
    "resume": Literal[False],
    "load_from": None,
}
OWN_SHELVES = (ATTENTION, GUIDES, REGIONS, RERANKERS, STAGES, STEPS, TAILS)
# Where a config names a type, and the shelf it stands on. The dataset's own keys are `data_check`'s.
SHELVES = {
    "model": MODELS,
    "model.backbone": MODELS,
    "model.backbone.tail": TAILS,
    "model.backbone.tail.attention": ATTENTION,
    "model.backbone.tail.guide": GUIDES,
    "model.backbone.tail.affinity": GUIDES,
    "model.backbone.tail.regions": REGIONS,
    "model.stages": STAGES,
    "model.stages.guide": GUIDES,
    "model.refine": STEPS,
    "model.refine.guide": GUIDES,
    "model.refine.regions": REGIONS,
    "model.refine.reranker": RERANKERS,
    "test_dataloader.sampler": DATA_SAMPLERS,
    "test_dataloader.dataset.pipeline": TRANSFORMS,
    "test_pipeline": TRANSFORMS,
    "test_evaluator": METRICS,
    "test_cfg": LOOPS,
}


def load_config(
    method: str | Path, dataset: str | None = None, backbone: str | None = None, options: dict | None = None
) -> Config:
    """The config of a method (`method_file`), the two other axes chosen (`axes`), then `options` (`a.b.c` -> value).

    The variables that the config files read are set for the time of the call only, so that none set in the shell
    leaks in. `config.axes` says what was chosen.

    Raises:
        InputError: no such file or name (with the near ones), a file that does not load, an unknown key or type.
    """
    path = method_file(method)
    have = choices(path.parent)
    chosen = {"dataset": dataset, "backbone": backbone}
    with axes.as_bases(chosen, have, path.parent) as bases:
        config = _read(path, bases)
    if "axes" in config:
        config.axes.update({axis: axes.short(name) for axis, name in chosen.items() if name is not None})
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
    for key, value in (options or {}).items():
        put(config._cfg_dict, key, value)
    check_parts(config)
    return config


def check_parts(config: Config) -> None:
    """Every `type` stands on its shelf, and takes the keys beside it, with values of their kinds. Raises InputError."""
    for key, kind in KINDS.items():
        if key in config:
            check(key, config[key], kind)
    for place, shelf in SHELVES.items():
        for part in _parts(config, place):
            _check_part(place, part, shelf)
    _check_dataset("test_dataloader.dataset", config.test_dataloader.get("dataset", {}))


def _parts(config: object, place: str) -> Iterator[object]:
    """What stands at `a.b.c`: nothing, one part, or each of several, also below each of several."""
    key, _, below = place.partition(".")
    found = config.get(key) if isinstance(config, dict | Config) else None
    for part in found if isinstance(found, list | tuple) else [] if found is None else [found]:
        yield from _parts(part, below) if below else [part]


def _check_part(place: str, part: object, shelf: Registry) -> None:
    keys = part if isinstance(part, dict) else {"type": part}
    kind = keys.get("type")
    found = shelf.get(kind) if isinstance(kind, str) and "." not in kind else None
    if found is None:
        names = shelf.module_dict.keys() | (shelf.parent.module_dict.keys() if shelf.parent else set())
        raise InputError(f"{place} is of type {kind!r}, and there is no such {shelf.name}{near(str(kind), names)}")
    takes = parameters(found)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        # An attention's first parameter is what it looks at, no option.
        _check_keys(f"{place} ({kind})", keys, [*takes][shelf is ATTENTION :])
    if shelf in OWN_SHELVES or _is_ours(found):
        check_settings(place, found, keys)


def _check_dataset(place: str, keys: dict) -> None:
    kinds = get_type_hints(DatasetKeys, include_extras=True)
    for key, value in keys.items():
        if key in kinds:
            check(f"{place}.{key}", value, kinds[key])
    found = DATASETS.get(keys["type"]) if "type" in keys else None
    if found is not None and _is_ours(found):
        check_settings(place, found, keys)


def _is_ours(part: object) -> bool:
    return part.__module__.split(".")[0] == __package__


def _check_keys(what: str, keys: Iterable[str], known: Iterable[str]) -> None:
    for key in keys:
        if key not in ("type", *known):
            raise InputError(f"{what} has no key {key!r}{near(key, known)}")


def _read(path: Path, chosen: dict[str, str | None]) -> Config:
    return read_config(path, {AXES[axis]: chosen.get(axis) for axis in AXES})


def read_config(path: Path, variables: Mapping[str, str | None]) -> Config:
    """A config file with these of the variables that it reads, whatever the shell has set; None leaves one unset.

    Raises InputError for a file that does not load.
    """
    shell = {name: os.environ.pop(name, None) for name in variables}
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")  # mmengine reports every variable that it puts in
    try:
        os.environ.update({name: value for name, value in variables.items() if value is not None})
        return Config.fromfile(path, format_python_code=False)  # yapf takes longer than a small run
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the config {path} does not load: {type(error).__name__}: {error}") from error
    finally:
        logger.setLevel(level)
        for name, value in shell.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
