"""Section `speed` of `sclip-seg gpu-check`: pictures per second, and the floor beside them.

The floor of a method is what it must run at the least: open_clip's bare tower on its windows and views, and its second
models, as they are (eager) and as replayed CUDA graphs, which cost no launches. Timed by the device's events.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from unittest.mock import patch

import torch
from mmseg.structures import SegDataSample
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ...picture import scores
from ...towers import weights
from ...towers.encoder import DTYPES
from ..bench import Bench
from ..speed_command import CASES, Case
from .sheet import Sheet

Work = Callable[[], object]
OFF = 1.15  # ratios to the floor above it are looked into, kernel by kernel
SIZES = {"toy": (96, 128), **{name: CASES[name].size for name in ("voc21", "ade20k")}}
SECONDS = 0.8  # for the timings of a row
BANDS = (4, 16, 64, 256)  # MB
HEAD = ["method, data", "img/s", "ours ms", "floor", "in a graph", "our trunk", "ratio", "to graph", "MB"]


@contextmanager
def one_tower() -> Iterator[None]:
    """Within it each build takes a copy of one random tower; drawing and hashing the weights anew takes seconds."""
    build = cache(weights.build_clip)
    drawn = patch.object(weights, "build_clip", lambda *sizes: copy.deepcopy(build(*sizes)))
    with drawn, patch.object(weights, "digest", lambda model: "random"):
        yield


def measure(sheet: Sheet, methods: list[str], device: torch.device, quick: bool) -> None:
    """SCLIP in every precision, the others in fp16; one picture at a time, and several."""
    backbone, several = ("toy", 2) if quick else ("openai_vit_b16", 8)
    datasets, precisions = (("toy",), ("fp32",)) if quick else (("voc21", "ade20k"), ("fp16", "bf16", "fp32"))
    cells = [("sclip", dataset, precision) for precision, dataset in product(precisions, datasets)]
    others = [method for method in methods if method != "sclip"]
    cells += [(method, dataset, precisions[0]) for dataset, method in product(datasets, others)]
    with one_tower():
        for method, dataset, precision in cells:
            benches: list[Bench] = []
            name = f"{method} {dataset} {precision}"

            def build(cell: tuple = (method, dataset, precision), benches: list = benches) -> dict:
                benches.append(Bench(Case(cell[1], SIZES[cell[1]]), cell[0], backbone, cell[2]))
                return {}

            if sheet.attempt("built", name, build)["status"] != "ok":
                continue
            counts = (1, several) if method == "sclip" or dataset == datasets[0] else (several,)
            for count in counts:
                sheet.attempt("speed", f"{name} x{count}", partial(time_pictures, *benches, count, quick))
            if method == "sclip":
                sheet.attempt("bands", name, partial(time_bands, *benches, quick))


@torch.no_grad()
def time_pictures(bench: Bench, count: int, quick: bool) -> dict:
    """Milliseconds a picture of `count` in one batch, of the floor, ratios, memory; kernels where it is off."""
    cuda, model = bench.device.type == "cuda", bench.model
    model.window["batch"] = count * len(bench.cut)
    works: dict[str, Work] = {"ours": partial(segment, bench, count), "floor": bench.towers(count)}
    works["trace"] = partial(model.backbone.trace, model.backbone.tail.views(bench.cut.repeat(count, 1, 1, 1)))
    row: dict = {"pictures": count, "windows": count * len(bench.cut), "notes": []}
    if cuda:
        for key in ("floor", "trace"):
            try:
                works[f"{key}_graph"] = graphed(works[key])
            except Exception as error:
                row["notes"].append(f"no graph of the {key}: {type(error).__name__}: {str(error)[:200]}")
    for key, seconds in medians(works, cuda, quick).items():
        row[f"{key}_ms"] = 1000 * seconds / count
    row["pictures_per_s"] = 1000 / row["ours_ms"]
    row["ratio"] = row["ours_ms"] / row["floor_ms"]
    if "floor_graph_ms" in row:
        row["ratio_graph"] = row["ours_ms"] / row["floor_graph_ms"]
    flops = tower_flops(bench) * len(model.backbone.tail.views(bench.cut))
    row["tower_tflops"] = flops / row["floor_ms"] / 1e9
    if cuda:
        works.clear()
        row["peak_mb"] = peak(partial(segment, bench, count))
    if quick or row["ratio"] > OFF or row.get("ratio_graph", 0) > OFF:
        try:
            row["profile"] = profiled(partial(segment, bench, count), count, cuda)
        except Exception as error:  # the figures stand without it
            row["notes"].append(f"no profile: {type(error).__name__}: {str(error)[:200]}")
    return row


def segment(bench: Bench, count: int) -> None:
    """Decoded pictures to their labels."""
    samples = [SegDataSample(metainfo={"ori_shape": bench.case.size}) for _ in range(count)]
    bench.model.test_step({"inputs": [bench.picture] * count, "data_samples": samples})


def graphed(work: Work) -> Work:
    """The work's launches, recorded and replayed at once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def medians(works: dict[str, Work], cuda: bool, quick: bool) -> dict[str, float]:
    """Seconds of each work, in turns; after the first ones, which set the libraries up."""
    for _ in range(1 if quick else 3):
        once = {key: timed(work, cuda) for key, work in works.items()}
    rounds = 1 if quick else int(min(30, max(5, SECONDS / sum(once.values()))))
    turns = [{key: timed(work, cuda) for key, work in works.items()} for _ in range(rounds)]
    return {key: statistics.median(turn[key] for turn in turns) for key in works}


def timed(work: Work, cuda: bool) -> float:
    """Seconds from the first launch to the end of the last kernel; the host's delays between them count."""
    if not cuda:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def peak(work: Work) -> float:
    """Largest memory above what is held, in MB."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def tower_flops(bench: Bench) -> float:
    """Of the tower's blocks for one window: 24 C² + 4 T C for each of T tokens in each block."""
    blocks, patch = bench.visual.transformer.resblocks, bench.model.backbone.patch
    tokens = 1 + (bench.cut.shape[2] // patch) * (bench.cut.shape[3] // patch)
    width = blocks[0].attn.embed_dim
    return len(blocks) * tokens * (24 * width**2 + 4 * tokens * width)


def profiled(work: Work, count: int, cuda: bool, rounds: int = 2) -> dict:
    """Where a picture's time goes: the ten longest kernels, how many there are, and what the device waits for."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    work()
    wall = statistics.median(timed(work, cuda) for _ in range(rounds))
    with profile(activities=activities) as seen:
        for _ in range(rounds):
            work()
        if cuda:
            torch.cuda.synchronize()
    events, each = seen.key_averages(), rounds * count
    there = [event for event in events if event.device_type == (DeviceType.CUDA if cuda else DeviceType.CPU)]
    spent = "self_device_time_total" if cuda and hasattr(events[0], "self_device_time_total") else None
    spent = spent or ("self_cuda_time_total" if cuda else "self_cpu_time_total")
    there.sort(key=lambda event: -getattr(event, spent))
    row = {
        "wall_ms": 1000 * wall / count,
        "kernel_ms": sum(getattr(event, spent) for event in there) / 1000 / each,
        "kernels": sum(event.count for event in there) / each,
        "top": [
            {"ms": getattr(event, spent) / 1000 / each, "count": event.count / each, "kernel": event.key[:120]}
            for event in there[:10]
        ],
        # Of the host's calls: launches, and what it waits for.
        "calls": {event.key: event.count / each for event in events if event.key.startswith(("cuda", "cuLaunch"))},
    }
    return row | {"gap_ms": row["wall_ms"] - row["kernel_ms"]}


@torch.no_grad()
def time_bands(bench: Bench, quick: bool) -> dict:
    """Milliseconds of labelling alone, for bands of several sizes: the one in force is `scores.GPU_BAND_BYTES`."""
    model, cuda = bench.model, bench.device.type == "cuda"
    force = "GPU_BAND_BYTES" if cuda else "BAND_BYTES"
    inputs = model.data_preprocessor({"inputs": [bench.picture]})["inputs"]
    (seen,) = model.look(inputs, [SegDataSample(metainfo={"ori_shape": bench.case.size})])
    maps = model.score(seen)
    row = {}
    for megabytes in BANDS:
        with patch.object(scores, force, megabytes * 2**20):
            seconds = medians({"labels": partial(model.labelling.labels, maps)}, cuda, quick)["labels"]
        row[f"{megabytes}_mb_ms"] = 1000 * seconds
    return row


@torch.no_grad()
def ceilings(device: torch.device, quick: bool) -> dict:
    """What the device reaches: a copy in TB/s (bytes read and written), square products in TFLOP/s."""
    cuda, size = device.type == "cuda", 256 if quick else 8192
    source = torch.rand(2**20 if quick else 2**29, device=device)
    target = torch.empty_like(source)
    works: dict[str, Work] = {"copy": partial(target.copy_, source)}
    for precision, dtype in DTYPES.items():
        if cuda or precision != "fp16":
            square = torch.randn(size, size, device=device).to(dtype)
            works[precision] = partial(torch.matmul, square, square)
    seconds = medians(works, cuda, quick)
    row = {"copy_tb_per_s": 2 * source.nbytes / seconds.pop("copy") / 1e12}
    return row | {f"{precision}_tflops": 2 * size**3 / took / 1e12 for precision, took in seconds.items()}


def summary(sheet: Sheet) -> Iterator[list[str]]:
    """Name, pictures a second, milliseconds of a picture, of the floor and of its graph, both ratios, memory."""
    keys = ("pictures_per_s", "ours_ms", "floor_ms", "floor_graph_ms", "trace_graph_ms", "ratio", "ratio_graph")
    for row in sheet.of("speed"):
        if "ours_ms" in row:
            figures = [f"{row[key]:.2f}" if key in row else "-" for key in keys]
            yield [row["name"], *figures, f"{row['peak_mb']:.0f}" if "peak_mb" in row else "-"]


def longest(sheet: Sheet) -> Iterator[str]:
    """The five longest kernels of each row that was looked into."""
    for row in sheet.of("speed"):
        if "profile" in row:
            seen = row["profile"]
            spent = f"wall {seen['wall_ms']:.2f} ms, kernels {seen['kernel_ms']:.2f} ms ({seen['kernels']:.0f})"
            yield f"{row['name']}: {spent}"
            for top in seen["top"][:5]:
                yield f"    {top['ms']:7.3f} ms {top['count']:6.1f} x {top['kernel'][:90]}"
