"""Where the processes of a grid run: on this machine, as tasks of a Ray cluster, or as jobs of Slurm.

All see the same folders. An engine starts a command and tells how it is; what is run when, and what comes of it, is
the grid's own (`run`). The others than this machine's are asked for by name, and their libraries are extras.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import InputError


class Work(Protocol):
    """A command that was started. `lost`: how it was lost with the machine or worker that ran it, or nothing."""

    lost: str
    returncode: int | None

    def poll(self) -> int | None:
        """Its exit status, once it has one; below 0 the signal that has ended it."""

    def end(self, sent: int) -> None:
        """Asks it to end, by a signal where it takes one."""


class Engine(Protocol):
    """Who starts commands. `remote`: somebody else decides how many run at a time."""

    remote: bool

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Work:
        """Starts it; what it prints goes to the log."""

    def close(self) -> None:
        """No more is started."""


class Local(Engine):
    """Processes of this machine."""

    remote = False

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> "LocalWork":
        """The terminal's Ctrl-C reaches the grid only, which ends the others."""
        with log.open("w", encoding="utf-8") as file:
            return LocalWork(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | environment,
                    start_new_session=True,
                )
            )

    def close(self) -> None:
        pass


class LocalWork(Work):
    """A process, and those that it has started itself."""

    lost = ""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    def poll(self) -> int | None:
        return self.process.poll()

    def end(self, sent: int) -> None:
        os.killpg(self.process.pid, sent)


def run_command(command: Sequence[str], folder: str, log: str) -> int:
    """A command's exit status, wherever this is called; it ends with its caller where that can still be asked to."""
    with Path(log).open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def ended(work: Work, how: str) -> None:
    """Notes that a command is gone without an exit status."""
    work.returncode, work.lost = -signal.SIGKILL, how


def engine_of(name: str, address: str | None, resources: Mapping[str, object], folder: Path) -> Engine:
    """The engine of a name. Raises InputError where its library, its cluster or a word of `resources` is missing."""
    if name == "ray":
        from .on_ray import OnRay

        return OnRay(address, resources)
    if address is not None:
        raise InputError("--address goes with --engine ray")
    if name == "slurm":
        from .on_slurm import OnSlurm

        return OnSlurm(resources, folder)
    if resources:
        raise InputError("--resources goes with --engine ray and slurm")
    return Local()
