"""The work of `sclip-seg test`: one evaluation, several that go through the pictures together, or a file of them."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from ..choices import method_file
from ..command import BAD_INPUT
from ..errors import InputError
from ..files import write_atomically
from .group import Group, in_groups
from .run import Run
from .test import parse


def alone(options: argparse.Namespace) -> None:
    """Evaluates one method, and prints what comes of it."""
    evaluate(options, print)


def evaluate(options: argparse.Namespace, say: Callable[[str], None] = lambda text: None) -> dict:
    """Checks, runs, and writes `result.json`; the result as a dict."""
    run = Run(options)
    with run.place():
        run.build()
        result = run.finish(run.runner.test())
    if result:
        say(run.report(result))
    return result


def together(options: argparse.Namespace) -> int:
    """Evaluates several methods, which share what they read alike, and prints what comes of each. The exit status."""
    runs = [Run(single) for single in singles(options)]
    members = [member for group in in_groups(runs) for member in Group(group).measure()]
    for member in sorted(members, key=lambda member: member.status):
        print(f"{member.run.config.axes.method}:\n{member.text}\n", file=sys.stderr if member.status else sys.stdout)
    return max(member.status for member in members)


def singles(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The options of each method; what they write goes into a folder of each. Raises InputError."""
    names = [method_file(config).stem for config in options.configs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]} is named twice")
    own = []
    for config, name in zip(options.configs, names, strict=True):
        given = {key: getattr(options, key) for key in ("work_dir", "out", "show_dir")}
        places = {key: str(Path(place, name)) for key, place in given.items() if place}
        own.append(argparse.Namespace(**vars(options) | places | {"config": config}))
    return own


def cells(path: Path) -> int:
    """Evaluates the command lines of a file together. What is said of each goes to `log.txt` in its work folder."""
    runs, status = [], 0
    for arguments in json.loads(path.read_text(encoding="utf-8")):
        options = parse(arguments)
        try:
            runs.append(Run(options))
        except InputError as error:
            status = BAD_INPUT
            log(Path(options.work_dir), f"error: {error}")
    for group in in_groups(runs):
        for member in Group(group).measure():
            log(member.run.folder, member.text)
            status = max(status, member.status)
    return status


def log(folder: Path, text: str) -> None:
    """Keeps what is said of a cell, and says it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "log.txt", f"{text}\n")
    print(text, flush=True)
