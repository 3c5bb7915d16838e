"""The work of `sclip-seg speed`: what a picture costs beside the bare vision transformer, a row a case."""

import argparse
import importlib.util
import json
import multiprocessing
import statistics
import tempfile
from itertools import product
from pathlib import Path
from types import ModuleType

import open_clip
import torch
import torch.nn.functional as F
from prettytable import PrettyTable
from torch import Tensor

from ..bars import notice
from ..errors import InputError
from ..evaluate.result import device_name
from ..files import write_atomically
from ..methods.zsseg import ZSSeg
from ..towers.guide import Guide
from ..words.text import text_bank
from ..words.vocabulary import Vocabulary
from . import shared
from .bench import Bench, timed
from .speed_command import CASES, QUICK, Case

PLAIN_CHAIN = Path(__file__).parents[2] / "tests" / "picture" / "plain_chain.py"  # of a source tree
TIMES = ("trunk_s", "towers_s", "ours_s", "reference_s")
RATIOS = ("ratio_to_trunk", "ratio_to_towers", "ratio_to_reference")
COLUMNS = (*TIMES, *RATIOS, "peak_extra_mb")


def measure(name: str, method: str, options: argparse.Namespace, precision: str) -> dict:
    """One row of the table."""
    case = CASES[name]
    row = {"case": name, "method": method, "precision": precision} | dict.fromkeys(COLUMNS)
    row["peak_extra_mb"] = peak_extra(name, method, options.backbone, precision, options.regions)
    if not case.timed:
        return row | {"device": device_name()}
    bench = Bench(case, method, options.backbone, precision, regions=options.regions)
    cuda = bench.device.type == "cuda"
    chain = None if options.no_reference else plain_chain()
    works = {"trunk_s": bench.trunk, "ours_s": bench.ours}
    if any(isinstance(module, Guide | ZSSeg) for module in bench.model.modules()):
        works["towers_s"] = bench.towers()
    if not options.no_reference:
        works["reference_s"] = lambda: bench.reference(chain)
    seconds = {key: [] for key in works}
    for key in works.keys() - {"reference_s"}:
        timed(works[key], cuda)  # the first call also sets the libraries up
    for turn in range(options.rounds):
        for key, work in works.items():
            if key != "reference_s" or turn < options.reference_rounds:
                seconds[key].append(timed(work, cuda))
    row |= {key: statistics.median(values) for key, values in seconds.items()}
    row["ratio_to_trunk"] = row["ours_s"] / row["trunk_s"]
    if row["towers_s"]:
        row["ratio_to_towers"] = row["ours_s"] / row["towers_s"]
    if row["reference_s"]:
        row["ratio_to_reference"] = row["reference_s"] / row["ours_s"]
    return row | {"device": device_name(), "windows": len(bench.windows)}


@torch.no_grad()
def measure_text(options: argparse.Namespace, queries: int = 8) -> dict:
    """The text bank of some queries, cold and read again, beside one query at a time at 77 tokens."""
    bench = Bench(CASES["ade20k"], options.method[0], options.backbone, "fp32")
    clip, arch, templates = bench.model.backbone.clip, bench.model.backbone.words, bench.model.templates
    vocabulary = Vocabulary("some", bench.model.vocabulary.classes[:queries])
    tokenizer = open_clip.get_tokenizer(arch)

    def one_at_a_time() -> None:
        for query in vocabulary.queries:
            prompts = tokenizer([template.format(query) for template in templates]).to(bench.device)
            F.normalize(F.normalize(clip.encode_text(prompts), dim=-1).mean(0), dim=-1)

    with tempfile.TemporaryDirectory() as cache:
        ours, again = (
            timed(lambda: text_bank(clip, arch, vocabulary, templates, "speed", cache), bench.device.type == "cuda")
            for _ in range(2)
        )
    reference = timed(one_at_a_time, bench.device.type == "cuda")
    row = {"case": f"text_bank_{queries}_queries", "method": "", "precision": "fp32"} | dict.fromkeys(COLUMNS)
    row |= {"ours_s": ours, "reference_s": reference, "ratio_to_reference": reference / ours}
    return row | {"second_start_s": again, "device": device_name()}


def plain_chain() -> ModuleType:
    """The reference of the tests. Raises InputError where there are none."""
    if not PLAIN_CHAIN.is_file():
        raise InputError("the plain chain lies among the tests of the source tree; without them give --no-reference")
    spec = importlib.util.spec_from_file_location("plain_chain", PLAIN_CHAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_extra(name: str, method: str, backbone: str, precision: str, regions: int | None = None) -> float:
    """Largest memory above the loaded model while one picture is segmented, in MB, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_extra, (CASES[name], method, backbone, precision, regions))


def _peak_extra(case: Case, method: str, backbone: str, precision: str, regions: int | None) -> float:
    bench = Bench(case, method, backbone, precision, regions=regions)
    bench.windows = bench.cut = Tensor()
    if bench.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        timed(bench.ours, True)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the kernel starts the high-water mark anew
    before = _status("VmRSS")
    timed(bench.ours, False)
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def table(rows: list[dict]) -> PrettyTable:
    """The rows for the eye."""
    times, ratios = ("trunk s", "towers s", "ours s", "reference s"), ("ours/trunk", "ours/towers", "ref./ours")
    table = PrettyTable(["case", "method", "precision", *times, *ratios, "extra MB"])
    table.align = "r"
    table.align["case"] = "l"
    formats = ("{:.3f}", "{:.3f}", "{:.3f}", "{:.2f}", "{:.3f}", "{:.3f}", "{:.2f}", "{:.0f}")
    for row in rows:
        numbers = ("-" if row[k] is None else f.format(row[k]) for k, f in zip(COLUMNS, formats, strict=True))
        table.add_row([row["case"], row["method"], row["precision"], *numbers])
    return table


def measure_all(options: argparse.Namespace) -> None:
    """Prints each row, then the table, and writes the file."""
    options.precision = options.precision or (["fp16"] if torch.cuda.is_available() else ["fp32", "bf16"])
    cases = options.cases or (QUICK if options.quick else list(CASES))
    precisions = options.precision[:1] if options.quick else options.precision
    rows = []
    if options.shared:
        found = [
            shared.measure(CASES["voc21"], options.backbone, precision, options.rounds) for precision in precisions
        ]
        print(shared.table(found))
        print(f"{device_name()}; medians of {options.rounds} interleaved rounds, seconds a picture")
        write_atomically(options.out, json.dumps(found, indent=2) + "\n")
        return
    for precision in precisions:
        for name, method in product(cases, options.method):
            rows.append(measure(name, method, options, precision))
            notice(str(table(rows[-1:])))
    if not (options.quick or options.cases):
        rows.append(measure_text(options))
        print(f"the text bank is read again in {rows[-1]['second_start_s']:.4f} s")
    write_atomically(options.out, json.dumps(rows, indent=2) + "\n")
    print(table(rows))
    print(f"{device_name()}; medians of {options.rounds} interleaved rounds; written to {options.out}")
