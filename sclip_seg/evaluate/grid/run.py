"""Runs the cells of a grid, each in a process of its own, as many at a time as there are slots.

A cell's folder is locked while it is worked on, by the grid and by the run itself (`work_folder`), so that a cell whose
grid was killed is not begun twice: it waits at the end of the queue until it is finished or free. Two grids can
therefore share a folder, and their work. A run that was stopped is gone on with, from the journal that it keeps.
"""

import json
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import mean

from mmengine.config import Config

from ...errors import InputError
from ...files import write_atomically
from ..work_folder import PROGRESS, RESULT
from .cell import Request, count_pictures
from .engine import Engine, Local
from .job import GROUP, GROUP_LOG, LOG, Begun, Busy, Job, last_lines, locked, version_of
from .screen import Screen, clock

POLL, GRACE = 0.1, 10.0  # seconds: between two looks at the processes, and for one to end when it is asked to
AGAIN = 2.0  # seconds between two looks at the cells that other processes work on
LIVES = 3  # times that a group is begun again after a machine of a cluster was lost


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `done`, `skipped` (it was finished) or `failed`, with `reason` its last lines."""

    request: Request
    state: str
    result: dict | None = None
    reason: str = ""
    seconds: float = 0.0


class GridRun:
    """Works the requests off, in order, group by group.

    Args:
        program: the command that measures a cell, before the arguments.
        slots: for each cell at a time, what its environment has beside the common one.
        stopped: asked between two looks; when it says yes, the processes are ended and the rest is left.
        anew: measure finished cells too, and go on with none that was stopped.
        same_code: what other code has measured is measured again.
        engine: who runs the processes.
    """

    def __init__(
        self,
        program: Sequence[str],
        slots: Sequence[dict[str, str]],
        screen: Screen,
        stopped: Callable[[], bool] = lambda: False,
        anew: bool = False,
        same_code: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.program, self.slots, self.screen, self.stopped = list(program), list(slots), screen, stopped
        self.anew, self.same_code = anew, same_code
        self.engine, self.lost = engine or Local(), Counter()
        self.waiting: deque[list[Request]] = deque()
        self.running: list[Job] = []
        self.elsewhere: list[Request] = []
        self.outcomes: list[Outcome] = []
        self.counted: dict[str, int | InputError] = {}
        self.digests: dict[str, str] = {}
        self.told: set[str] = set()

    def run(self, groups: Sequence[Sequence[Request]]) -> list[Outcome]:
        """The outcomes, in the order of the requests; those of a stopped grid lack what was not finished."""
        self.waiting.extend(map(list, groups))
        looked = time.monotonic()
        try:
            while (self.waiting or self.running or self.elsewhere) and not self.stopped():
                if not self.waiting and time.monotonic() - looked > AGAIN:
                    self.waiting.extend([request] for request in self.elsewhere)
                    self.elsewhere.clear()
                    looked = time.monotonic()
                free = [slot for slot in range(len(self.slots)) if slot not in {job.slot for job in self.running}]
                while self.waiting and free and not self.stopped():
                    if self._begin(self.waiting.popleft(), free[0]):
                        free.pop(0)
                for job in [job for job in self.running if job.process.poll() is not None]:
                    self._finish(job)
                self.screen.show(self.table())
                if self.running or self.elsewhere:
                    time.sleep(POLL)
        finally:
            self.screen.show([])
            self._end()
        order = {request.cell.key: place for place, request in enumerate(chain.from_iterable(groups))}
        return sorted(self.outcomes, key=lambda outcome: order[outcome.request.cell.key])

    def table(self) -> list[str]:
        """A line for each cell at work, and one for the whole."""
        width = max((len(job.title) for job in self.running), default=0)
        lines = [
            f"  {job.title:{width}}  {min(cell.look() for cell in job.cells)} of {job.cells[0].total} pictures  "
            f"{clock(time.monotonic() - job.start)}"
            for job in self.running
        ]
        return [*lines, self.summary()]

    def summary(self) -> str:
        """`done 3, skipped 0, failed 1, running 2, left 4, about 12:30 to go`."""
        states = [outcome.state for outcome in self.outcomes]
        parts = [f"{state} {states.count(state)}" for state in ("done", "skipped", "failed")]
        if self.running or self.waiting or self.elsewhere:
            running, left = sum(len(job.cells) for job in self.running), sum(map(len, self.waiting))
            parts += [f"running {running}", f"left {left}"]
            parts += [f"elsewhere {len(self.elsewhere)}"] if self.elsewhere else []
            left = self.remaining()
            parts += [f"about {clock(left)} to go"] if left is not None else []
        return ", ".join(parts)

    def remaining(self) -> float | None:
        """Seconds that are left, by the cells done so far, those of the same dataset first; None before the first."""
        by_dataset: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            if outcome.state == "done":
                by_dataset.setdefault(outcome.request.cell.dataset, []).append(outcome.seconds)
        if not by_dataset:
            return None
        overall = mean(mean(times) for times in by_dataset.values())
        expected = {dataset: mean(times) for dataset, times in by_dataset.items()}
        waiting = chain.from_iterable(self.waiting)
        left = sum(expected.get(request.cell.dataset, overall) for request in waiting)
        for job in self.running:
            whole = sum(expected.get(cell.request.cell.dataset, overall) for cell in job.cells)
            left += max(whole - (time.monotonic() - job.start), 0)
        return left / len(self.slots)

    def _begin(self, group: Sequence[Request], slot: int) -> bool:
        """Whether a process was started; otherwise the outcome of each cell is known."""
        cells = [cell for request in group if (cell := self._taken(request))]
        if not cells:
            return False
        calls = [cell.request.arguments(cell.resumed) for cell in cells]
        first, arguments = cells[0].request.folder, calls[0]
        if len(calls) > 1:
            write_atomically(first / GROUP, json.dumps(calls, indent=2) + "\n")
            arguments = ["--cells", str(first / GROUP)]
            for cell in cells:
                (cell.request.folder / LOG).unlink(missing_ok=True)
        log = first / (LOG if len(calls) == 1 else GROUP_LOG)
        process = self.engine.start([*self.program, *arguments], log, self.slots[slot])
        self.running.append(Job(cells, slot, process))
        if not self.screen.is_live:
            for cell in cells:
                self.screen.say(f"{'goes on' if cell.resumed else 'begins'}: {cell.request.cell.key}")
        return True

    def _taken(self, request: Request) -> Begun | None:
        """A cell that is to be measured, its folder held; None where its outcome is known, or others work on it."""
        missing = None
        try:
            config = request.load()
            try:
                total = count_pictures(config, self.counted)
            except InputError as error:
                missing, total = error, None
            record = request.record(config)
            if self._skip(request, config, total, record):
                return None
            if missing:
                raise missing
            request.check_overwrite()
            lock = locked(request.folder)
        except InputError as error:
            self._note(Outcome(request, "failed", reason=str(error)))
            return None
        except Busy:
            self._leave(request)
            return None
        # Another grid may have finished the cell before the lock was had.
        if self._skip(request, config, total, record):
            lock.release()
            return None
        resume = not self.anew and request.recorded() == record and (request.folder / PROGRESS).is_dir()
        write_atomically(request.folder / "cell.json", json.dumps(record, indent=2) + "\n")
        before = version_of(request.folder / RESULT)
        return Begun(request, config, min(request.limit or total, total), lock, resume, before)

    def _skip(self, request: Request, config: Config, total: int | None, record: dict) -> bool:
        result = None if self.anew else request.finished(config, total, self.digests)
        if result is None or (self.same_code and request.recorded().get("code") != record["code"]):
            return False
        self._note(Outcome(request, "skipped", result))
        return True

    def _leave(self, request: Request) -> None:
        self.elsewhere.append(request)
        if request.cell.key not in self.told:
            self.told.add(request.cell.key)
            self.screen.say(f"waits: {request.cell.key}: another process is at work in {request.folder}")

    def _finish(self, job: Job) -> None:
        self.running.remove(job)
        for cell in job.cells:
            cell.lock.release()
        seconds, status = time.monotonic() - job.start, job.process.returncode
        unfinished = [cell for cell in job.cells if not self._done(cell, seconds / len(job.cells))]
        if job.process.lost and unfinished and self.lost[job.title] < LIVES:
            self.lost[job.title] += 1
            self.waiting.appendleft([cell.request for cell in unfinished])
            self.screen.say(f"lost with what ran it ({job.process.lost}): {job.title}; goes on")
            return
        if len(job.cells) > 1 and status < 0 and unfinished:  # too much for the machine, as it seems
            half = -(-len(unfinished) // 2)
            requests = [cell.request for cell in unfinished]
            self.waiting.extendleft(filter(None, (requests[half:], requests[:half])))
            self.screen.say(f"ended by signal {-status}: {job.title}; goes on in two groups")
            return
        for cell in unfinished:
            self._note(Outcome(cell.request, "failed", reason=self._reason(cell, job), seconds=seconds))

    def _done(self, cell: Begun, seconds: float) -> bool:
        total = count_pictures(cell.config, self.counted)
        result = cell.request.finished(cell.config, total) if cell.has_result() else None
        if result:
            self._note(Outcome(cell.request, "done", result, seconds=seconds))
        return bool(result)

    @staticmethod
    def _reason(cell: Begun, job: Job) -> str:
        status, folder = job.process.returncode, cell.request.folder
        ended = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
        if status == 0:
            ended = f"{folder / 'result.json'} is not of this config and these pictures"
        if cell.resumed:
            ended += "; it went on with a run that was stopped: --anew begins from the first picture"
        logs = folder / LOG, job.cells[0].request.folder / GROUP_LOG
        lines = next((last_lines(log) for log in logs if log.exists()), [])
        return "\n".join([*lines, ended])

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        key = outcome.request.cell.key
        if outcome.state == "failed":
            lines = outcome.reason.splitlines()
            self.screen.say(f"failed: {key}: {next((line for line in lines if line.startswith('error:')), lines[0])}")
        elif outcome.state == "done":
            self.screen.say(f"done: {key}: mIoU {outcome.result['miou']:.2f}  ({clock(outcome.seconds)})")

    def _end(self) -> None:
        """Ends what still runs, with the processes that it has started itself."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for job in self.running:
                if job.process.poll() is None:
                    job.process.end(sent)
            deadline = time.monotonic() + GRACE
            while any(job.process.poll() is None for job in self.running) and time.monotonic() < deadline:
                time.sleep(POLL)
        for cell in chain.from_iterable(job.cells for job in self.running):
            cell.lock.release()
