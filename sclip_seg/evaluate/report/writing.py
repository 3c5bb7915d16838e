"""The work of `sclip-seg report`: what lies below the folders, gathered and written."""

import argparse
import sys
from pathlib import Path

from ...files import write_atomically
from ...quiet import is_quiet
from ..published_figures import load
from .gather import Result, Warn, gather
from .grid import build
from .page import page
from .pictures import galleries, kept_labels
from .places import Allowed
from .tables import cells_csv, classes_csv, latex, markdown, summary
from .words import About

FEW_SHOT = "few_shot"  # the folder of what was measured with labelled pictures at hand, beside the others'


def report(options: argparse.Namespace) -> None:
    """Gathers everything, then writes the files, so that what cannot be read leaves none."""
    told: list[str] = []

    def warn(message: str) -> None:
        told.append(message)
        if not is_quiet():
            print(f"warning: {message}", file=sys.stderr)

    places = options.folders or [Path("work_dirs")]
    results = gather(places, warn)
    few_shot = [result for result in results if result.few_shot]
    results = [result for result in results if not result.few_shot]
    for kind, folder in ((results, options.out), (few_shot, options.out / FEW_SHOT)):
        if kind:
            write(options, kind, folder, About(places), told, warn)


def write(
    options: argparse.Namespace, results: list[Result], out: Path, about: About, told: list[str], warn: Warn
) -> None:
    """The files of results that may stand in one table."""
    grid = build(results, load(), warn)
    allowed, shown = Allowed(options.data), []
    if options.pictures:
        folders = options.labels or kept_labels(grid, allowed)
        if not folders and options.labels is not None:
            warn("no label maps beside the results: sclip-seg test keeps a few, and all with --out")
        shown = galleries(grid, folders, options.pictures, allowed, warn)
    grid.warnings = told
    texts = {
        "report.md": markdown(grid, about),
        "report.html": page(grid, shown, tuple(options.tolerance), about),
        "report.tex": latex(grid),
        "cells.csv": cells_csv(grid),
        "classes.csv": classes_csv(grid),
    }
    for name, text in texts.items():
        write_atomically(out / name, whole(text))
    print(summary(grid))
    print(whole(f"written to {out}: {', '.join(texts)}"))


def whole(text: str) -> str:
    """With a sign in place of each half character, which JSON and file names may have and no UTF-8 file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
