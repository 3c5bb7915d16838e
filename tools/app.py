"""A page to play with: a picture, words, one method or two side by side.

    python tools/app.py --backbone toy     (or: make app APP="--backbone toy")

It is served to this machine only, and sends nothing anywhere.
"""

import argparse
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from PIL import Image

from sclip_seg.command import Parser, at_least_one, run
from sclip_seg.config import CONFIGS, choices
from sclip_seg.errors import InputError, near
from sclip_seg.toy.world import GROUNDS, THINGS, draw

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
EXAMPLES = 12  # of a folder
SCENES = [(150, 200), (200, 150), (180, 180), (150, 220)]  # (height, width) of the drawn examples
OLDEST_GRADIO = 6, 31  # seen to ask nobody but its own server; 6.2 was seen to ask others
LARGEST_UPLOAD = "100mb"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--port", type=at_least_one, default=7860, help="default: 7860")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1; 0.0.0.0 serves the network")
    parser.add_argument("--backbone", default="openai_vit_b16", metavar="NAME", help="what the page opens with")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="example pictures; default: drawn scenes")
    parser.add_argument("--device", metavar="NAME", help="'cpu', or one that torch knows; default: the fastest")
    options = parser.parse_args(arguments)
    if options.port > 65535:
        parser.error("--port is a number from 1 to 65535")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when it is ended, or 2 after one line about what the user can mend."""
    options = parse(arguments)
    return run(lambda: open_page(options))


def open_page(options: argparse.Namespace) -> None:
    """Serves until it is ended, by Ctrl-C or a signal, which is no failure."""
    check(options)
    given = pictures_of(options.examples) if options.examples else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with tempfile.TemporaryDirectory(prefix="sclip_seg-", ignore_cleanup_errors=True) as folder:
            serve(options, given, Path(folder))
    except KeyboardInterrupt:
        print()


def check(options: argparse.Namespace) -> None:
    """Everything that can be known wrong before the slow imports. Raises InputError."""
    try:
        gradio = version("gradio")
    except PackageNotFoundError as error:
        raise InputError("the page needs gradio: pip install .[app]") from error
    if tuple(map(int, gradio.split(".")[:2])) < OLDEST_GRADIO:
        raise InputError(f"gradio {gradio} is too old, its pages ask other hosts for scripts: pip install .[app]")
    have = choices(CONFIGS)["backbone"]
    if options.backbone not in have:
        raise InputError(f"there is no backbone {options.backbone!r}{near(options.backbone, have)}")
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {options.device} cannot be had: {str(error).splitlines()[0]}") from error
    try:
        socket.create_server((options.host, options.port)).close()
    except OSError as error:
        reason = f"{options.host}, port {options.port}: {error.strerror.split(' (')[0]}"
        raise InputError(f"the page cannot be served at {reason}; choose others with --host and --port") from error


def serve(options: argparse.Namespace, given: list[Path], folder: Path) -> None:
    """Serves the page until it is interrupted; uploads, and drawn examples where none are given, lie in `folder`."""
    examples = given or drawn(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    # gradio asks its own server whether it is up, which must not go through a proxy.
    os.environ["no_proxy"] = ",".join(filter(None, [os.environ.get("no_proxy"), options.host, "127.0.0.1,localhost"]))

    from sclip_seg.app.page import CSS, Page, Start, theme
    from sclip_seg.app.session import Session

    fields = {} if given else dict(words=", ".join(THINGS), background=", ".join(GROUNDS))
    blocks = Page(Session(options.device), Start(examples, options.backbone, **fields)).blocks.queue(api_open=False)
    blocks.launch(
        server_name=options.host,
        server_port=options.port,
        theme=theme(),
        css=CSS,
        allowed_paths=[str(path) for path in examples],
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=LARGEST_UPLOAD,
    )
    if not is_loopback(options.host):
        print(f"warning: whoever reaches this machine's port {options.port} can use the page", file=sys.stderr)
    print(f"the page is at http://{options.host}:{options.port} (Ctrl-C ends it)", flush=True)
    threading.Event().wait()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def pictures_of(folder: Path) -> list[Path]:
    """The first pictures of a folder. Raises InputError where there are none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"--examples {folder} is no folder with pictures ({', '.join(sorted(SUFFIXES))})")
    return [path.resolve() for path in paths[:EXAMPLES]]


def drawn(folder: Path) -> list[Path]:
    """Scenes of the toy world, as files in `folder`."""
    paths = [folder / f"scene_{index}.png" for index in range(len(SCENES))]
    for index, (path, (height, width)) in enumerate(zip(paths, SCENES, strict=True)):
        Image.fromarray(draw(7, index, height, width, count=(4, 6), two_grounds=1.0).image).save(path)
    return paths


if __name__ == "__main__":
    sys.exit(main())
