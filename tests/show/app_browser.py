"""The page of tools/app.py on a free port, and one headless Chromium that looks at it: what a visitor does there."""

import io
import os
import re
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from forked import Forked
from huggingface_hub import constants
from PIL import Image
from waiting import PATIENCE, until

import sclip_seg.show.app  # noqa: F401  says what gradio reads when it is imported
from sclip_seg.toy.world import draw
from sclip_seg_cli import launch

pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")

SCENE = draw(7, 3, 96, 128, count=(4, 5)).image
DRAWN = "#overlay-0 img"
IS_UP = "the page is at"
# A server closes what was idle for seconds, maybe as it is asked. Browsers ask again by themselves, playwright not.
ASKED = dict(timeout=1000 * PATIENCE, max_retries=5)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def started(folder):
    """The process of a page once it says that it is up, its port, and its log; it is ended at the end.

    What this process has imported is not imported again.
    """
    port, log = free_port(), folder / "app.log"
    server = Forked(partial(_as_app, folder, port), log)
    try:
        try:
            until(lambda: log.is_file() and IS_UP in log.read_text(), "the page", lambda: server.poll() is None)
        except AssertionError as error:
            raise AssertionError(log.read_text()) from error
        yield server, port, log
    finally:
        if server.poll() is None:
            os.kill(server.pid, signal.SIGINT)
            server.wait()


def _as_app(folder, port):
    """As tools/app.py. No weights but the shipped ones, neither from the network nor from an earlier download."""
    os.chdir(folder)
    os.environ.update(HF_HUB_OFFLINE="1", HOME=str(folder), TMPDIR=str(folder))
    tempfile.tempdir, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE = None, True, str(folder / "hub")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may ignore it, as nohup does
    sys.argv = ["app", "--port", str(port), "--backbone", "toy"]
    return launch("app", None)


@contextmanager
def serving(folder):
    """Address of the page, and what its process prints."""
    with started(folder) as (_, port, log):
        yield f"http://127.0.0.1:{port}", log


def upload(page, path):
    """The picture at the path becomes the page's."""
    page.locator("#picture input[type=file]").set_input_files(path)


def run(page, words="tomato, lemon, leaf", background="sand; water"):
    """Run is pressed, with these words; None leaves those that are there."""
    for label, text in (("Words", words), ("Background words", background)):
        if text is not None:
            field(page, label).fill(text)
    page.get_by_role("button", name="Run", exact=True).click()


def field(page, label):
    """The text field whose label begins so; its hint belongs to the label."""
    return page.get_by_role("textbox", name=re.compile(f"^{label}"))


def look(page, image, x, y):
    """A click on the shown picture, at a share of its width and height."""
    size = page.locator(image).bounding_box()
    page.locator(image).click(position={"x": x * size["width"], "y": y * size["height"]})


def pixels(page, image):
    """The picture behind an <img>, (H, W, 3) at the scene's own size."""
    shown = page.request.get(page.locator(image).get_attribute("src"), **ASKED)
    magnified = np.asarray(Image.open(io.BytesIO(shown.body())).convert("RGB")).astype(int)
    scale = len(magnified) // len(SCENE)
    return magnified[::scale, ::scale]


def point(page):
    """(x, y) as the page names it."""
    said = page.locator("#attention")
    return tuple(map(int, until(lambda: re.search(r"x=(\d+), y=(\d+)", said.inner_text()), "a point").groups()))


def source(page, image):
    """Where the browser has a picture from; another one when it is drawn anew."""
    return page.locator(image).get_attribute("src")
