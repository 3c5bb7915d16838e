"""A page to play with: a picture, words, one method or two side by side.

    sclip-seg app --backbone toy
    make app APP="--backbone toy"

It is served to this machine only, sends nothing anywhere, and answers to its
own address alone: a request that names another host, or comes from another
page, is refused. Served to a network (--host), it answers to this machine's
name and to any address, and to further names that are given with --name, e.g.
a proxy's. Uploads are kept for an hour after their last use, 1 GB in sum, and
end with the page.
"""

import argparse
import gc
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...choices import CONFIGS, choices
from ...command import Parser, at_least_one, run
from ...errors import InputError, near
from .examples import Example, drawn, examples_of
from .folder import Uploads, own_folder
from .guard import Names, is_loopback

OLDEST_GRADIO = 6, 31  # seen to ask nobody but its own server; 6.2 was seen to ask others


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--port", type=at_least_one, default=7860, help="default: 7860")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1; 0.0.0.0 serves the network")
    parser.add_argument("--name", action="append", default=[], help="another name that the page is called by")
    parser.add_argument("--backbone", default="openai_vit_b16", metavar="NAME", help="what the page opens with")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="pictures, NAME.txt with words; default: drawn")
    parser.add_argument("--device", metavar="NAME", help="'cpu', or one that torch knows; default: the fastest")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when it is ended, or 2 after one line about what the user can mend."""
    options = parse(arguments)
    return run(lambda: open_page(options, leaves=arguments is None))


def open_page(options: argparse.Namespace, leaves: bool = False) -> None:
    """Serves until it is ended, by Ctrl-C or a signal, which is no failure; then the process `leaves` if it is so."""
    with ended_by_signals():
        check(options)
        given = examples_of(options.examples) if options.examples else []
        try:
            with listening(options.host, options.port) as listener, own_folder() as folder:
                serve_page(options, listener, given, folder)
        except KeyboardInterrupt:
            print()
    if leaves:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # what is still being computed for a visitor is not waited for


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed (SIGHUP, unless nohup is used), end the block as Ctrl-C does."""
    heard = {signal.SIGTERM: signal.default_int_handler}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard[signal.SIGHUP] = lambda *_: signal.raise_signal(signal.SIGTERM)  # which the server listens to
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

    import torch

    try:
        kind = torch.empty(0, device=options.device).device.type
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(f"--device {options.device} cannot be had: {str(error).splitlines()[0]}") from error
    if kind == "meta":
        raise InputError(f"--device {options.device} computes nothing; 'cpu' does")


def listening(host: str, port: int) -> socket.socket:
    """A socket that waits at the address. Raises InputError where it cannot be had."""
    where = f"{host or '(nothing)'}, port {port}"
    if port > 65535:
        raise InputError(f"--port is a number from 1 to 65535, not {port}")
    if not host.strip():
        raise InputError("--host is empty; 127.0.0.1 serves this machine, and 0.0.0.0 the network")
    bare = bare_address(host)
    try:
        return socket.create_server((bare, port), family=socket.AF_INET6 if ":" in bare else socket.AF_INET)
    except (OSError, ValueError, TypeError) as error:  # the latter two: what is no name at all
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).split(" (")[0]
        raise InputError(
            f"the page cannot be served at {where}: {reason}; choose others with --host and --port"
        ) from error


def bare_address(host: str) -> str:
    """Without the brackets that an IPv6 address may be written in."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") and len(host) > 2 else host


def serve_page(options: argparse.Namespace, listener: socket.socket, given: list[Example], folder: Path) -> None:
    """Serves the page until it is ended; uploads, and drawn examples where none are given, lie in `folder`."""
    examples = given or drawn(folder)
    uploads = Uploads(folder / "uploads")
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)

    from .page import Page, Start
    from .server import application, serve
    from .session import Session

    page = Page(Session(options.device), Start(examples, options.backbone))
    uploads.keep()
    host = bare_address(options.host)
    if not is_loopback(host):
        warnings.warn(f"whoever reaches this machine's port {options.port} can use the page", stacklevel=1)
    names = Names(host, [socket.gethostname(), *options.name])
    shown = f"[{host}]" if ":" in host else host
    line = f"the page is at http://{shown}:{options.port} (Ctrl-C ends it)"
    app = application(page, names, uploads, [example.path for example in examples])
    gc.freeze()  # what is loaded stays: it is not gone through while the page is served, nor when it ends
    serve(app, listener, line)
