"""Serves the page: gradio's application behind the guard, by uvicorn, on a socket that is open already."""

import socket
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from .folder import Uploads
from .guard import Guard, Names
from .page import CSS, Page
from .parts import theme
from .rest import serve_programs

SWEEP = 60  # seconds between looks at the folder
WAITING = 32  # computations in line; further ones are told so
SESSIONS = 32  # visitors whose last run and memory are kept, some 60 MB each at most
CONNECTIONS = 256
UNDOCUMENTED = dict(docs_url=None, redoc_url=None, openapi_url=None)  # those pages ask other hosts for scripts


def application(page: Page, names: Names, uploads: Uploads, readable: Iterable[Path]) -> Guard:
    """The page as an ASGI application. `readable`: files outside the folder of uploads that may be looked at."""
    blocks = page.blocks.queue(api_open=False, max_size=WAITING)
    blocks.state_session_capacity = SESSIONS
    app = FastAPI(**UNDOCUMENTED)
    serve_programs(app, page.session, uploads.folder, page.backbone.value)
    app = gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        css=CSS,
        allowed_paths=[str(path) for path in readable],
        max_file_size=uploads.largest,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs=dict(UNDOCUMENTED),
    )
    return Guard(app, names, uploads)


class Server(uvicorn.Server):
    """Says when it is up; visitors' open connections do not keep it from ending."""

    def __init__(self, app: Guard, line: str) -> None:
        settings = dict(log_level="warning", access_log=False, limit_concurrency=CONNECTIONS, lifespan="on")
        super().__init__(uvicorn.Config(app, **settings))
        self.line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.line, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):  # what a browser listens to never ends by itself
            connection.transport.close()
        await super().shutdown(sockets)


def serve(app: Guard, listener: socket.socket, line: str) -> None:
    """Until a signal ends it. `line` is printed when the page can be asked for."""
    with _sweeping(app.uploads):
        Server(app, line).run(sockets=[listener])


@contextmanager
def _sweeping(uploads: Uploads):
    """Looks at the folder now and then, beside the block."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(SWEEP):
            uploads.sweep()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
