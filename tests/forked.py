"""Processes that begin as copies of the test's own, which has imported everything: a fresh one takes seven seconds."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from waiting import until

import sclip_seg_cli
from sclip_seg.evaluate.grid.engine import Local, LocalWork


class Forked:
    """What is used of `subprocess.Popen`, for a function in place of a program: its exit status is what it gives.

    It leads a session of its own, writes to the file `output`, and sees `environment` besides.
    """

    def __init__(self, work: Callable[[], int], output: Path, environment: Mapping[str, str] | None = None) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._begin(work, output, environment or {})

    @staticmethod
    def _begin(work, output, environment):
        status = 70
        try:
            os.setsid()
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
            os.environ.update(environment)
            gc.disable()  # it would write to every page that is shared
            status = work()
        except SystemExit as error:
            status = error.code
        except BaseException:  # as an interpreter ends
            sys.excepthook(*sys.exc_info())
            status = 1
        finally:
            os._exit(status or 0)

    def poll(self) -> int | None:
        """Its exit status, once it has one; below 0 the signal that has ended it."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Its exit status."""
        until(lambda: self.poll() is not None, "a forked process")
        return self.returncode


def start(engine: Local, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> LocalWork:
    """In place of `Local.start`: the grid's processes are forks, which run the same command."""
    program, file, word, *arguments = command
    assert (program, Path(file)) == (sys.executable, Path(sclip_seg_cli.__file__))
    return LocalWork(Forked(lambda: sclip_seg_cli.launch(word, arguments), log, environment))
