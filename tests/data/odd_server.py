"""A local HTTP server that can break off, lie about lengths, ignore ranges, refuse and serve garbage."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, how it behaves, and which ranges it was asked for (None for the whole)."""

    files: dict[str, bytes]
    breaks_after: int | None = None  # bytes of each answer
    breaks: int | None = None  # how many answers break; None: all
    takes_ranges: bool = True
    claims: int | None = None  # a wrong Content-Length
    tag: str = ""
    status: list[int] = field(default_factory=list)  # of the first answers, 200 after
    sends_from: int | None = None  # a range that was not asked for
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def url(self, name: str) -> str:
        return f"{self.address}/some/folder/{name}"


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site at `site.address`, on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, site)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    """One request, in the way of the site."""
    wanted = request.headers.get("Range")
    site.asked.append(wanted)
    content = site.files.get(request.path.rsplit("/", 1)[-1])
    status = site.status.pop(0) if site.status else 404 if content is None else 200
    if status != 200:
        request.send_error(status)
        return
    start, condition = 0, request.headers.get("If-Range")
    if wanted and site.takes_ranges and condition in (None, site.tag):
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        start = start if site.sends_from is None else site.sends_from
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    if site.tag:
        request.send_header("ETag", site.tag)
    request.send_header("Content-Length", str(site.claims or len(content) - start))
    request.end_headers()
    body = content[start:]
    if site.breaks_after is not None and site.breaks != 0:
        site.breaks = None if site.breaks is None else site.breaks - 1
        body = body[: site.breaks_after]
    request.wfile.write(body)
