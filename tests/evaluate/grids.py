"""`sclip-seg reproduce` with a program that stands for `sclip-seg test` where no score is asked for."""

import json
import os
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from waiting import PATIENCE, until

from sclip_seg.evaluate.grid import command as tool

ROOT = Path(__file__).parents[2]
# Writes the result that its cell.json asks for. What it does otherwise stands in `stub.json` in the working folder:
# METHOD -> lines to print before failing, or a file to wait for after the first picture of the journal.
STUB = f"""
PATIENCE = {PATIENCE}
import fcntl, json, os, signal, sys, time
from pathlib import Path

if sys.argv[1] == "--cells":
    with open("calls.txt", "a") as calls:
        calls.write(" ".join(["-", "--cells", *(Path(line[0]).stem for line in json.load(open(sys.argv[2])))]) + "\\n")
    os.kill(os.getpid(), signal.SIGKILL)
method = Path(sys.argv[1]).stem
folder = Path(sys.argv[sys.argv.index("--work-dir") + 1])
with open("calls.txt", "a") as calls:
    calls.write(" ".join([os.environ.get("CUDA_VISIBLE_DEVICES", "-"), *sys.argv[1:]]) + "\\n")
lock = (folder / "run.lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
Path(method + ".begun").touch()
does = json.loads(Path("stub.json").read_text()).get(method, {{}})
journal = folder / "progress" / "rank0.jsonl"
if "wait" in does:
    journal.parent.mkdir(exist_ok=True)
    with journal.open("a") as file:
        file.write('00000000 {{"index": 0}}\\n')
    end = time.monotonic() + PATIENCE
    while not Path(does["wait"]).exists() and time.monotonic() < end:
        time.sleep(0.02)
if "fail" in does:
    print(does["fail"])
    sys.exit(3)
if "--out" in sys.argv:
    labels = Path(sys.argv[sys.argv.index("--out") + 1])
    labels.mkdir(exist_ok=True)
    (labels / "000.png").touch()
record = json.loads((folder / "cell.json").read_text())
result = {{"miou": does.get("miou", 50.0), "aacc": 60.0, "images": 2, "images_in_dataset": 2, "partial": False}}
(folder / "result.json").write_text(json.dumps({{**result, "config_digest": record["config_digest"]}}))
"""


class Stub:
    """`stub(*arguments)` runs `sclip-seg reproduce` with the program above; `stub.calls()` are its calls so far.

    The program measures one cell, so each has a process of its own; one that is given several is killed.
    """

    def __init__(self, folder):
        self.script = folder / "stub.py"
        self.script.write_text(STUB)
        self.behave()

    def behave(self, **methods):
        Path("stub.json").write_text(json.dumps(methods))

    def __call__(self, *arguments, group=1):
        return tool.main([*arguments, "--group", str(group)], program=[sys.executable, "-S", str(self.script)])

    @staticmethod
    def calls():
        path = Path("calls.txt")
        return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


@contextmanager
def when(condition, act):
    """Does something, once, as soon as the condition holds, beside the block; no longer than that takes."""
    ended = threading.Event()

    def watch():
        until(lambda: ended.is_set() or condition())
        if not ended.is_set():
            act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def stop_when(condition):
    """Sends this process SIGTERM as soon as the condition holds, while the block runs."""
    return when(condition, lambda: os.kill(os.getpid(), signal.SIGTERM))
