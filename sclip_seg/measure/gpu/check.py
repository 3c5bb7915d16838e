"""Checks and measures on a GPU, in one go.

    sclip-seg gpu-check --parity DIR   # DIR as of `sclip-seg parity`
    sclip-seg gpu-check --quick        # its smallest form, on the CPU too

Eight minutes hold half of the methods; several runs may share a card, but for
`--sections speed`.

`labels`, `features`: every method in fp32, bf16 and fp16 against fp32 on the
CPU. `parity`: the official codes' outputs in fp32 on the device. `kernels`:
our own beside the plain code. `speed`, `bands`, `ceilings`: pictures per
second, the floor beside them, and kernels where they are off it. What fails
or keeps not to its bound is named, stops nothing else, and makes the exit
status 1; so does a check that no time was left for. All of it is in
work_dirs/gpu_check.json, written row by row.

Products and convolutions of fp32 are fp32 throughout: TF32 is off.
"""

import argparse
import platform
import subprocess
import tempfile
import warnings
from functools import partial
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from ...command import Parser, at_least_one, run
from ...config import CONFIGS, choices
from ...evaluate.result import commit, device_name, versions
from ...toy.make import make
from ..parity.command import outcomes
from ..parity.outcome import Outcome
from . import kernels, precision, speed
from .sheet import Sheet

METHODS = choices(CONFIGS)["method"]
QUICK = ("sclip", "proxyclip")
SECTIONS = ("precision", "parity", "speed")
PICTURES, THREADS = 20, 8  # of the toy world; of the CPU, beyond which its small tensors gain nothing


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 1 where something is off or was not measured, 2 after one line about what the user can mend."""
    options = parse(arguments)
    return run(lambda: check(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = Parser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything in its smallest form")
    parser.add_argument("--parity", type=Path, metavar="DIR", help="where the official codes' outputs are")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="METHOD", help="default: all")
    parser.add_argument("--limit", type=at_least_one, default=440, help="seconds after which nothing is begun")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/gpu_check.json"))
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> int:
    """Runs the sections and prints the tables."""
    init_default_scope("mmseg")
    warnings.simplefilter("ignore")
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = options.methods or (list(QUICK) if options.quick else METHODS)
    sheet = Sheet(options.out, options.limit)
    sheet.attempt("machine", device_name(), machine)
    sheet.attempt("ceilings", device.type, partial(speed.ceilings, device, options.quick))
    with tempfile.TemporaryDirectory() as scratch:
        if "precision" in options.sections:
            world = Path(scratch) / "toy"
            pictures = 1 if options.quick else PICTURES
            sheet.attempt("world", f"{pictures} pictures", lambda: {"made": make(world, pictures, seed=0)})
            precision.measure(sheet, methods, device, world, options.quick)
        if "parity" in options.sections and options.parity:
            sheet.attempt("parity", str(options.parity), partial(parity, options.parity, device))
    if "speed" in options.sections:
        kernels.measure(sheet, device, options.quick)
        speed.measure(sheet, methods, device, options.quick)
    sheet.write(complete=True)
    tell(sheet)
    return 1 if sheet.bad else 0


def machine() -> dict:
    """What computes."""
    row = {"device": device_name(), "cpu": platform.processor(), "threads": torch.get_num_threads()}
    row |= {"commit": commit(), "versions": versions(), "tf32": torch.backends.cudnn.allow_tf32}
    if torch.cuda.is_available():
        seen = torch.cuda.get_device_properties(0)
        row |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        row |= {"memory_mb": seen.total_memory >> 20, "multiprocessors": seen.multi_processor_count}
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"]
        try:
            row["smi"] = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            row["smi"] = str(error)
    return row


def parity(folder: Path, device: torch.device) -> dict:
    """The largest gap and the tolerance of each kind of case, and the cases that are off."""
    found: list[Outcome] = list(outcomes(folder, device))
    kinds: dict[str, dict] = {}
    for outcome in found:
        kind = kinds.setdefault(outcome.kind, {"cases": 0, "largest": 0.0, "of_tolerance": 0.0})
        kind["cases"] += 1
        kind["largest"] = max(kind["largest"], outcome.gap)
        kind["of_tolerance"] = max(kind["of_tolerance"], outcome.gap / outcome.tolerance if outcome.tolerance else 0)
    off = [f"{outcome.name}: {outcome.told.strip()}" for outcome in found if not outcome.fits]
    return {"cases": len(found), "kinds": kinds, "off": off}


def tell(sheet: Sheet) -> None:
    """The tables: short, the last thing printed, since the end of a long output is what is kept."""
    for line in speed.longest(sheet):
        print(line)
    for title, head, rows in (
        ("equal pixels, move of the mIoU, features' relative distance", precision_head(), precision.summary(sheet)),
        ("speed", speed.HEAD, speed.summary(sheet)),
    ):
        table = PrettyTable(head, align="r", title=title)
        table.add_rows(list(rows))
        if table.rows:
            print(table)
    for row in [*sheet.of("ceilings"), *sheet.of("bands"), *sheet.of("kernels"), *sheet.of("parity")]:
        print({key: value for key, value in row.items() if key not in ("section", "status", "off", "seconds")})
    for row in sheet.bad:
        print(f"{row['status']}: {row['section']} {row['name']}: {'; '.join(row['off'])[:400]}")
    print(f"{device_name()}: {len(sheet.rows) - len(sheet.bad)} of {len(sheet.rows)} ok, {sheet.elapsed:.0f} s")


def precision_head() -> list[str]:
    """Columns of the table of precisions."""
    return ["method", *(f"{dtype} {what}" for dtype in precision.DTYPES for what in ("=", "mIoU", "far"))]
