"""The page of tools/app.py on a free port."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from waiting import PATIENCE, until

pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def started(folder, *arguments):
    """The process of a page once it says that it is up, its port, and its log; it is ended at the end."""
    port, log = free_port(), folder / "app.log"
    order = [sys.executable, str(ROOT / "tools" / "app.py"), "--port", str(port), "--backbone", "toy", *arguments]
    # No weights but the shipped ones, neither from the network nor from an earlier download.
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(folder), "TMPDIR": str(folder)}
    surroundings.pop("HF_HOME", None)
    with log.open("w") as output:
        # Whoever started the tests may ignore it, as nohup does, and so would the page.
        hears = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        server = subprocess.Popen(
            order, cwd=folder, env=surroundings, stdout=output, stderr=subprocess.STDOUT, preexec_fn=hears
        )
    try:
        try:
            until(lambda: "the page is at" in log.read_text(), "the page", lambda: server.poll() is None)
        except AssertionError as error:
            raise AssertionError(log.read_text()) from error
        yield server, port, log
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def serving(folder, *arguments):
    """Address of the page, and what its process prints."""
    with started(folder, *arguments) as (_, port, log):
        yield f"http://127.0.0.1:{port}", log
