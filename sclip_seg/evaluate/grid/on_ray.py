"""Groups of a grid as tasks of a Ray cluster."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...errors import InputError
from ..cluster import cluster
from .engine import Engine, Work, ended, run_command


class OnRay(Engine):
    """`resources`: what `ray.remote` takes, `num_gpus=1`; unless it is given, a GPU where the cluster has any."""

    remote = True

    def __init__(self, address: str | None, resources: Mapping[str, object]) -> None:
        self.connection = ExitStack()
        self.ray = self.connection.enter_context(cluster(address))
        gpus = {"num_gpus": 1} if self.ray.cluster_resources().get("GPU") else {}
        try:
            self.task = self.ray.remote(max_retries=0, **gpus, **resources)(run_command)
        except (TypeError, ValueError) as error:
            self.close()
            raise InputError(f"--resources: {str(error).splitlines()[0]}") from error

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> "RayWork":
        return RayWork(self.ray, self.task.remote(list(command), os.getcwd(), str(log.resolve())))

    def close(self) -> None:
        self.connection.close()


class RayWork(Work):
    """A task. One whose worker has died is lost; the grid starts it again, from its journal."""

    def __init__(self, ray: object, task: object) -> None:
        self.ray, self.task = ray, task
        self.lost, self.returncode = "", None

    def poll(self) -> int | None:
        if self.returncode is None and self.ray.wait([self.task], timeout=0)[0]:
            try:
                self.returncode = self.ray.get(self.task)
            except self.ray.exceptions.RayTaskError:  # it could not be started there
                raise
            except self.ray.exceptions.RayError as error:
                ended(self, type(error).__name__)
        return self.returncode

    def end(self, sent: int) -> None:
        self.ray.cancel(self.task)
