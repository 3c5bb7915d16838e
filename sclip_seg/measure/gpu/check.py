"""The work of `sclip-seg gpu-check`: the sections, one after the other, and their tables."""

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

from ...evaluate.result import commit, device_name, versions
from ...toy.make import make
from ..parity.compare import outcomes
from ..parity.outcome import Outcome
from . import kernels, precision, speed
from .command import METHODS, QUICK
from .sheet import Sheet

PICTURES, THREADS = 20, 8  # of the toy world; of the CPU, beyond which its small tensors gain nothing


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
