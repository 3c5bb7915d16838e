"""PASCAL Context's labels, by mmsegmentation's converter, which needs the package `detail`."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ...errors import InputError
from .tables import converter_path

PICTURES = "JPEGImages"


def convert_context(rule: dict, data: Path, force: bool = False) -> str:
    """Runs the converter beside the tree and moves labels and lists in when it has come through; says what was done.

    The lists, of which the run needs val.txt, come last, so that they tell a complete conversion.
    """
    tree = data / rule["devkit"] / rule["year"]
    labels, lists = tree / rule["labels"], tree / rule["lists"]
    if (lists / "val.txt").is_file() and labels.is_dir() and not force:
        return f"{labels}: it was there (--force makes it anew)"
    if labels.exists() and any(labels.iterdir()) and not force:
        raise InputError(f"{labels} is there but {lists / 'val.txt'} is not; --force makes both anew")
    annotations = data / rule["annotations"]
    for what, path in (("pictures", tree / PICTURES), ("annotations", annotations)):
        if not path.exists():
            raise InputError(f"the {what} {path} are missing; `download` says how to get them")
    if importlib.util.find_spec(rule["package"]) is None:
        raise InputError(
            f"the conversion needs the package `{rule['package']}`: install PythonAPI of "
            f"https://github.com/zhanghang1989/detail-api into {sys.prefix}"
        )
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=tree) as place:
        draft = Path(place, rule["year"])
        (draft / rule["lists"]).mkdir(parents=True)
        (draft / PICTURES).symlink_to((tree / PICTURES).resolve(), target_is_directory=True)
        _run([sys.executable, str(converter_path(rule["converter"])), place, str(annotations)])
        if labels.exists():
            (lists / "val.txt").unlink(missing_ok=True)
            labels.rename(Path(place, "before"))
        (draft / rule["labels"]).rename(labels)
        lists.mkdir(parents=True, exist_ok=True)
        for name in ("train.txt", "val.txt"):
            os.replace(draft / rule["lists"] / name, lists / name)
        shutil.rmtree(Path(place, "before"), ignore_errors=True)
    return f"{labels}: {sum(1 for _ in labels.iterdir())} files written"


def _run(command: list[str]) -> None:
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["it says nothing"]
        raise InputError(f"mmsegmentation's converter failed ({' '.join(command)}): {lines[-1]}")
