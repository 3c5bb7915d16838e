"""How far the toy world ranks methods as their papers do: a table of ranks, and Spearman's correlation.

Of the papers, a method stands as far above or below SCLIP as the mean over the benchmarks that both have says, with
OpenAI's ViT-B/16, in the protocol that its config follows. Where that is published on fewer than five benchmarks, by
SCLIP's own table, else by whichever protocol has the most.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, median

from prettytable import PrettyTable
from scipy.stats import rankdata, spearmanr

from ..errors import InputError
from ..evaluate.grid import gate
from ..evaluate.published_figures import Figure, load

BACKBONE, REFERENCE = "openai_vit_b16", "sclip"
FEWEST, ENOUGH = 3, 5  # benchmarks by which a method is ranked at all, and by which its own protocol is preferred
ELSEWHERE = ("cliptrase",)  # scores a square of each picture, in its paper and here


def gains(figures: list[Figure] | None = None) -> dict[str, float]:
    """Of each method that is published widely enough, how many points of mIoU it is above SCLIP."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    followed = {}
    for figure in load() if figures is None else figures:
        if figure.backbone == BACKBONE and figure.variant is None and figure.method not in ELSEWHERE:
            found[figure.method, figure.protocol][figure.dataset].append(figure.miou)
            if figure.comparable:
                followed[figure.method] = figure.protocol
    reference = found[REFERENCE, REFERENCE]
    means = {
        key: {name: median(values) - median(reference[name]) for name, values in rows.items() if name in reference}
        for key, rows in found.items()
    }
    chosen = {}
    for method in {method for method, _ in means}:
        own = {protocol: rows for (m, protocol), rows in means.items() if m == method}
        first = (followed.get(method), REFERENCE)
        best = next((own[p] for p in first if len(own.get(p, ())) >= ENOUGH), max(own.values(), key=len))
        if len(best) >= FEWEST:
            chosen[method] = mean(best.values())
    return chosen


def correlation(published: Mapping[str, float], measured: Mapping[str, float]) -> tuple[float, int]:
    """Spearman's of the methods that both know, and how many these are."""
    both = sorted(published.keys() & measured.keys())
    if len(both) < FEWEST:
        raise InputError(
            f"{len(both)} methods are both published and measured; {FEWEST} at least have ranks to compare"
        )
    return float(spearmanr([published[m] for m in both], [measured[m] for m in both]).statistic), len(both)


def measured_in(path: Path) -> dict[str, float]:
    """mIoU by method, of a file that `sclip-seg reproduce --store` wrote of one backbone and dataset."""
    stored = gate.load(path)
    if len({(cell.backbone, cell.dataset) for cell in stored.cells}) != 1:
        raise InputError(f"{path} is of several backbones or datasets; ranks are of one")
    return {cell.method: stored.expected[cell.key][0] for cell in stored.cells if cell.variant is None}


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Ranks in the papers beside those of each column of measured mIoU, and a line of correlations."""
    published = gains()
    methods = sorted(
        (m for m in published if any(m in column for column in columns.values())), key=lambda m: -published[m]
    )
    drawn = PrettyTable(["method", "papers", "above SCLIP"], align="r")
    drawn.align["method"] = "l"
    for method, rank in zip(methods, ranks([published[m] for m in methods]), strict=True):
        drawn.add_row([method, rank, f"{published[method]:+.1f}"])
    said = []
    for name, measured in columns.items():
        known = [m for m in methods if m in measured]
        order = dict(zip(known, ranks([measured[m] for m in known]), strict=True))
        drawn.add_column(f"{name}: rank", [order.get(m, "") for m in methods], align="r")
        drawn.add_column(f"{name}: mIoU", [f"{measured[m]:.1f}" if m in measured else "" for m in methods], align="r")
        value, count = correlation(published, measured)
        said.append(f"{name}: Spearman's correlation {value:.2f} over {count} methods")
    return "\n".join([drawn.get_string(), *said])


def ranks(values: list[float]) -> list[str]:
    """1 the best; equal ones share the mean of their ranks."""
    return [f"{rank:g}" for rank in rankdata([-value for value in values])]
