"""What a report is called, and the words that its reader may not know."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from ...version import __version__
from .grid import Grid, title_of

NAMED = 3  # methods or benchmarks that a title names; more are counted
SHORT = {
    "partial": "some pictures only",
    "departs": "other settings",
    "own labels": "other labels",
    "vocabulary": "other words",
    "unknown": "settings not known",
}
MEANINGS = {
    "mIoU": "mean intersection over union: of each class, the pixels that are rightly given to it, by all that it is "
    "given or should be given; averaged over the classes, in percent. 100 is a perfect labelling.",
    "without background": "the mIoU over all classes but the background, where there is one.",
    "of interest": "the mIoU over the classes that a benchmark singles out, where it does (MESS: CoI-mIoU).",
    "pixels right": "percent of all pixels that have the right class (aAcc).",
    "found of a class": "percent of a class's pixels that are found, averaged over the classes (mAcc).",
    "published": "what a paper, or its authors' code, reports for the method on the benchmark; every source is named "
    "below the cell.",
    "backbone": "the network that reads pictures and words; all methods of one backbone start from the same weights.",
    "class words": "the list of words that stand for the classes, and its digest. Scores of other words are other "
    "scores: the words move a score as much as the method does.",
    "protocol": "everything that a score depends on: settings, words, picture sizes, data, precision, version.",
}


@dataclass(frozen=True)
class About:
    """Where the results lay and when the report was written."""

    folders: Sequence[Path] = ()
    day: date = field(default_factory=date.today)

    def line(self, files: int) -> str:
        """One sentence."""
        places = f", from {files} result file{'s' * (files != 1)} below {', '.join(map(str, self.folders))}"
        return f"Written on {self.day.isoformat()} by sclip_seg {__version__}{places if self.folders else ''}."


def title(grid: Grid) -> str:
    """What was measured: methods and benchmarks by name, or their numbers where there are many."""
    methods = list(dict.fromkeys(row.method for row in grid.rows))
    return f"{_listed(methods, 'methods')} on {_listed(list(map(title_of, grid.datasets)), 'benchmarks')}"


def _listed(names: Sequence[str], kind: str) -> str:
    if len(names) > NAMED:
        return f"{len(names)} {kind}"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
