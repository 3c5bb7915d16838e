"""What `sclip-seg gpu-check` found, written to its file as soon as it is found."""

import json
import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from ...bars import notice
from ...command import one_line
from ...files import write_atomically


class Sheet:
    """Rows of several sections. A row that fails says why and stops no other; what no time was left for is named.

    Args:
        path: of the JSON file, written anew after every row.
        limit: seconds after which nothing more is begun.
    """

    def __init__(self, path: Path, limit: float) -> None:
        self.path, self.limit, self.start = path, limit, time.perf_counter()
        self.rows: list[dict] = []
        self.write()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def attempt(self, section: str, name: str, work: Callable[[], dict]) -> dict:
        """Runs `work`, whose dict becomes a row; its entry `off` lists what is out of its bounds, an error counts too.

        Returns the row, which holds nothing of `work` where that failed or was not begun.
        """
        row, begun = {"section": section, "name": name}, self.elapsed
        if begun > self.limit:
            row |= {"status": "skipped", "off": [f"no time left after {begun:.0f} s"]}
        else:
            try:
                found = work()
                row |= {"status": "FAILED" if found.get("off") else "ok", "off": [], **found}
            except Exception as error:
                told = one_line(error)[:300]
                row |= {"status": "FAILED", "off": [f"{type(error).__name__}: {told}"], "trace": traceback.format_exc()}
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
        row["seconds"] = round(self.elapsed - begun, 2)
        self.rows.append(row)
        self.write()
        off = f": {'; '.join(row['off'])}" if row["off"] else ""
        notice(f"{self.elapsed:6.1f} s  {row['status']:<7} {section:<10} {name}{off}")
        return row

    @property
    def bad(self) -> list[dict]:
        """Rows that failed or were not measured."""
        return [row for row in self.rows if row["status"] != "ok"]

    def of(self, section: str) -> list[dict]:
        """The rows of a section that have figures."""
        return [row for row in self.rows if row["section"] == section and "trace" not in row]

    def write(self, complete: bool = False) -> None:
        """The file, whole; `complete` says that the run came to its end."""
        content = {"complete": complete, "seconds": round(self.elapsed, 1), "bad": len(self.bad), "rows": self.rows}
        write_atomically(self.path, json.dumps(plain(content), indent=1) + "\n")


def plain(content: object) -> object:
    """The same as JSON can hold it: what is no number (nan, inf) by name."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content if isinstance(content, str | int | float | bool | None) else str(content)


def beyond(bounds: dict[str, tuple[str, float]], found: dict[str, float]) -> list[str]:
    """What of `found` keeps not to its bound, `("<=", 0.3)` or `(">=", 0.99)`, in words; nan keeps to none."""
    kept = {"<=": lambda value, bound: value <= bound, ">=": lambda value, bound: value >= bound}
    return [
        f"{key} is {found[key]:.3g}, not {sign} {bound:g}"
        for key, (sign, bound) in bounds.items()
        if not kept[sign](found[key], bound)
    ]
