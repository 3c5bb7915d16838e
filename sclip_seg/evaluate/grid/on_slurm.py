"""Groups of a grid as jobs of Slurm, through submitit."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import InputError
from .engine import Engine, Work, ended, run_command

LOGS = "slurm"


class OnSlurm(Engine):
    """`resources`: what submitit's AutoExecutor takes, `slurm_partition=dev`, `gpus_per_node=1`, `timeout_min=60`.

    `cluster=local` are processes of this machine by way of submitit, to see whether a command goes through.
    """

    remote = True

    def __init__(self, resources: Mapping[str, object], folder: Path) -> None:
        try:
            import submitit
        except ImportError as error:
            raise InputError("--engine slurm needs submitit: pip install 'sclip_seg[slurm]'") from error
        parameters = dict(resources)
        cluster = parameters.pop("cluster", "slurm")
        if cluster == "slurm" and not shutil.which("srun"):
            raise InputError("--engine slurm: there is no srun here; --resources cluster=local does without Slurm")
        try:
            self.executor = submitit.AutoExecutor(folder / LOGS, cluster=cluster)
            self.executor.update_parameters(name="sclip-seg", **parameters)
        except (TypeError, ValueError, NameError, RuntimeError) as error:
            raise InputError(f"--resources: {str(error).splitlines()[0]}") from error

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> "SlurmWork":
        return SlurmWork(self.executor.submit(run_command, list(command), os.getcwd(), str(log.resolve())))

    def close(self) -> None:
        pass


class SlurmWork(Work):
    """A job. One that was killed is lost; the grid hands it in again, from its journal."""

    def __init__(self, job: object) -> None:
        self.job = job
        self.lost, self.returncode = "", None

    def poll(self) -> int | None:
        if self.returncode is None and self.job.done():
            error = self.job.exception()
            if error is None:
                self.returncode = self.job.result()
            else:
                ended(self, f"job {self.job.job_id}: {type(error).__name__}")
        return self.returncode

    def end(self, sent: int) -> None:
        self.job.cancel()
