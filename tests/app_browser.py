"""The page of tools/app.py on a free port, and one headless Chromium that looks at it."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import find

pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")
sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright

ROOT = Path(__file__).parents[1]
PATIENCE = 60  # seconds
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
SINGLE = ("--no-first-run", "--disable-component-update", "--disable-sync")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def serving(folder, *arguments):
    """Address of the page, and what its process prints; the process is ended at the end, whatever happens."""
    port, log = free_port(), folder / "app.log"
    order = [sys.executable, str(ROOT / "tools" / "app.py"), "--port", str(port), "--backbone", "toy", *arguments]
    # No weights but the shipped ones, neither from the network nor from an earlier download.
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(folder), "TMPDIR": str(folder)}
    surroundings.pop("HF_HOME", None)
    with log.open("w") as output:
        server = subprocess.Popen(order, cwd=folder, env=surroundings, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "the page is at" in log.read_text() or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}", log
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(is_so, seconds=PATIENCE):
    """Looks every tenth of a second."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@contextmanager
def browsing():
    """One Chromium, of the system, for as many pages as are asked for."""
    program = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *SINGLE])
        try:
            yield browser
        finally:
            browser.close()
