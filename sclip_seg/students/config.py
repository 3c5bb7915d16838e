"""A student's config: a name among those that are shipped, or a file, resolved for a folder of labels."""

import json
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from ..axes import check_nameable
from ..choices import CONFIGS
from ..config import read_config
from ..errors import InputError
from ..options import put

STUDENTS = CONFIGS / "students"
VARIABLES = ("SCLIP_LABELS", "SCLIP_PICTURES", "SCLIP_ITERS", "SCLIP_CROP")
NEEDED = ("model", "train_dataloader", "train_cfg", "optim_wrapper", "test_pipeline", "teacher", "classes", "ignore")


def load_student(path: Path, variables: Mapping[str, object], options: Mapping[str, object]) -> Config:
    """The config with these of `VARIABLES` (None: its own) and `--cfg-options`. Raises InputError."""
    given = {name: None if value is None else str(value) for name, value in variables.items()}
    for value in given.values():
        check_nameable(value or "")
    config = read_config(path, dict.fromkeys(VARIABLES) | given)
    absent = [key for key in NEEDED if key not in config]
    if absent:
        raise InputError(f"{path} is no student's config, it lacks {', '.join(absent)}: build on {STUDENTS}/_labels.py")
    for key, value in options.items():
        put(config._cfg_dict, key, value)
    for step in [*config.train_dataloader.dataset.pipeline, *config.test_pipeline]:
        for key in {"scale", "crop_size", "ratio_range"} & step.keys():
            if isinstance(step[key], list):  # as they are typed; mmcv tells sizes from lists of sizes by their type
                step[key] = tuple(step[key])
    return config


def told_of(folder: Path) -> dict:
    """What `sclip-seg label` said of the folder that it wrote. Raises InputError for another one."""
    path = folder / "dataset.json"
    hint = "sclip-seg label ... --format png --copy --out DIR writes one"
    if not path.is_file():
        raise InputError(f"{folder} holds no labels to train on, it has no dataset.json: {hint}, when it has ended")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        form = told["written"]["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what sclip-seg label writes; {hint}") from error
    if form != "png":
        raise InputError(f"{folder} holds labels as {form}, and students are trained on label maps: {hint}")
    return told
