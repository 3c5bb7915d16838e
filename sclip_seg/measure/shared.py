"""What methods cost that go through the pictures together: beside one bare trunk, and beside each of them alone."""

import statistics
from collections.abc import Sequence
from itertools import product

from prettytable import PrettyTable

from ..evaluate.result import device_name
from ..registry import Parts, one_of_each
from ..towers.together import Together, sharing
from .bench import Bench, timed
from .speed_command import Case

PROTOCOL = "sclip"
READINGS = ("clip", "maskclip", "sclip", "naclip", "clearclip", "gem", "resclip", "scclip", "clip_surgery", "dih_clip")
SCALES, THRESHOLDS = (30, 40, 50, 65, 100), (0.0, 0.1, 0.2, 0.3)


def measure(case: Case, backbone: str, precision: str, rounds: int) -> dict:
    """Seconds a picture: the bare trunk; ten methods by one protocol and twenty settings of it, shared and alone."""
    settings = [dict(logit_scale=s, background_threshold=t) for s, t in product(SCALES, THRESHOLDS)]
    with one_of_each(Parts(readers=True)):
        readings = [Bench(case, method, backbone, precision, PROTOCOL) for method in READINGS]
        sweep = [Bench(case, PROTOCOL, backbone, precision, settings=own) for own in settings]
    first = readings[0]
    for bench in (*readings, *sweep):  # as a group has it: the same picture, and equal words are one bank
        bench.picture, bench.model.text = first.picture, first.model.text
    works = {
        "trunk": first.trunk,
        "readings shared": lambda: together(readings),
        "readings alone": lambda: [bench.ours() for bench in readings],
        "sweep shared": lambda: together(sweep),
        "sweep alone": lambda: [bench.ours() for bench in sweep],
    }
    cuda = first.device.type == "cuda"
    for work in works.values():
        timed(work, cuda)
    seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(timed(work, cuda))
    found = {name: statistics.median(values) for name, values in seconds.items()}
    return {"precision": precision, "backbone": backbone, "device": device_name(), "seconds": found}


def together(benches: Sequence[Bench]) -> None:
    """One picture through all of them."""
    with sharing(Together()):
        for bench in benches:
            bench.ours()


def table(rows: Sequence[dict]) -> PrettyTable:
    """Seconds, and in trunks."""
    names = list(rows[0]["seconds"])
    found = PrettyTable(["precision", *names], align="r")
    for row in rows:
        trunk = row["seconds"]["trunk"]
        found.add_row([row["precision"], *(f"{s:.3f} ({s / trunk:.2f})" for s in row["seconds"].values())])
    return found
