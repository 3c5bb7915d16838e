"""How many cells are measured at a time, and what of the machine each takes."""

import os

import torch

from ...errors import InputError


def slots(jobs: int | None) -> list[dict[str, str]]:
    """For each cell at a time, its GPU; or, without GPUs, its share of the processor's threads."""
    count = torch.cuda.device_count()
    if not count:
        jobs = jobs or 1
        threads = str(max((os.cpu_count() or 1) // jobs, 1))
        share = {} if jobs == 1 or "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
        return [share] * jobs
    if jobs and jobs > count:
        raise InputError(f"--jobs {jobs}: each takes a GPU of its own, and there are {count}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names[: jobs or count]]
