"""The work of `sclip-seg train`: what can be known wrong is told, and the rest is mmengine's Runner's."""

import argparse
import warnings
from itertools import count
from pathlib import Path

from mmengine.config import Config
from mmengine.device import is_cuda_available
from mmengine.runner import Runner
from torch.distributed import init_process_group, is_initialized

from ..bars import notice
from ..choices import config_file
from ..data.check import check_dataset
from ..data.files import find_files
from ..errors import InputError
from ..evaluate.runner import building
from ..evaluate.work_folder import is_first_rank, taken
from ..files import write_atomically
from .config import STUDENTS, load_student, told_of

KEPT, LAST, NAMES = "student.py", "last_checkpoint", "pictures.txt"
BUILT = count()


def train(options: argparse.Namespace) -> None:
    """From the command line to the last checkpoint, beside the resolved config."""
    path = config_file(options.config, STUDENTS, "student")
    folder = options.work_dir or Path("work_dirs", "students", path.stem)
    config = resolved(path, folder, options)
    if not is_first_rank(options.launcher):
        run(config)
        return
    check_goes_on(folder, config, options.resume)
    with taken(folder):
        check_pictures(folder, config)
        run(config)
    print(f"the student is in {folder}: sclip-seg score-student {folder} --dataset NAME scores it")


def resolved(path: Path, folder: Path, options: argparse.Namespace) -> Config:
    """The config as the Runner takes it."""
    told_of(options.data)
    if options.pictures is None and not (options.data / "images").is_dir():
        raise InputError(f"{options.data} holds labels alone: name what was labelled by --pictures DIR")
    variables = dict(
        SCLIP_LABELS=options.data.resolve(),
        SCLIP_PICTURES=options.pictures and options.pictures.resolve(),
        SCLIP_ITERS=options.iters,
        SCLIP_CROP=options.crop,
    )
    config = load_student(path, variables, options.cfg_options)
    config.student, config.work_dir = path.stem, str(folder)
    config.launcher, config.resume = options.launcher, options.resume
    config.train_dataloader.dataset.ann_file = str((folder / NAMES).resolve())
    if options.launcher == "pytorch" and not is_cuda_available() and not is_initialized():
        init_process_group("gloo")  # mmengine's own start-up asks for a CUDA device
    return Config(config.to_dict(), cfg_text="resolved", filename=KEPT)


def check_goes_on(folder: Path, config: Config, resume: bool) -> None:
    """Raises InputError where a student would be written over, or gone on with as another one."""
    if not (folder / LAST).exists():
        if resume:
            notice(f"{folder} holds no checkpoint yet: the training begins at its first step")
        return
    if not resume:
        raise InputError(f"{folder} holds a student: --resume goes on with it; or choose another --work-dir")
    before = Config.fromfile(folder / KEPT)
    for key in ("student", "teacher", "classes", "ignore", "model"):
        if before.get(key) != config.get(key):
            raise InputError(f"the student in {folder} has another {key}: choose another --work-dir")


def check_pictures(folder: Path, config: Config) -> None:
    """Lists what is labelled, and finds its pictures. Raises InputError where they are not there."""
    dataset = config.train_dataloader.dataset.to_dict()
    labels = Path(dataset["data_root"], dataset["labels"])
    names = sorted(name.removesuffix(".png") for name in find_files(str(labels), (".png",))) if labels.is_dir() else []
    if not names:
        raise InputError(f"{labels} holds no label map")
    write_atomically(folder / NAMES, "".join(f"{name}\n" for name in names))
    check_dataset(dataset)


def run(config: Config) -> None:
    """mmengine's Runner, from the first iteration or the last checkpoint to the end."""
    config.experiment_name = f"student{next(BUILT)}"
    warnings.filterwarnings("ignore", message="``build_loss`` would be deprecated")  # mmseg's heads call it
    with building():
        runner = Runner.from_cfg(config)
    runner.train()
