"""What reaches the page: requests of its own, of bounded size, that lead nowhere else.

A page that is served to this machine can still be asked by any other page that its user has open: by requests to
`localhost` from elsewhere, and through a name that its owner lets point here (DNS rebinding). So

* the Host must be a name of this page (`Names`), whatever the port, which an SSH tunnel changes;
* the Origin, where a browser sends one, must be that of the page, port included;
* what a browser says to come from another page is refused, unless it is a link that the user followed;
* only what the page itself does is answered: reading, uploads, the few calls of `CALLS`, and those of `SERVICE`;
* nothing makes the server fetch an address, which gradio would in two places.
"""

import ipaddress
import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from .folder import Uploads

API = "/gradio_api"
UPLOAD = f"{API}/upload"
CALLS = {f"{API}/{name}" for name in ("queue/join", "cancel", "reset")}
SERVICE = {
    f"/api/{name}" for name in ("classes", "labels", "overlay", "scores", "words", "remember")
}  # pictures in, results out
MESSAGE = 1 << 20  # bytes of a call
ENVELOPE = 1 << 16  # bytes around an upload's content
HEADERS = [(b"x-frame-options", b"SAMEORIGIN"), (b"cross-origin-resource-policy", b"same-origin")]


class Names:
    """What this page may be called by in a request: `host` that it is served at, and `more` names.

    Served to this machine only: `localhost` and loopback addresses. Served to a network: any address as well, since no
    name can be made to point at one, and a container or a router shows others than the machine knows of itself.
    """

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        self.names = {name.lower() for name in ("localhost", host, *more)}
        self.is_loopback = is_loopback(host)

    def __contains__(self, name: str) -> bool:
        name = name.lower().removesuffix(".")
        if name in self.names:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback or not self.is_loopback
        except ValueError:
            return False


class Refused(Exception):
    """The status of an answer, and a line of why."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


class Guard:
    """An ASGI application around the page's."""

    def __init__(self, app, names: Names, uploads: Uploads) -> None:
        self.app, self.names, self.uploads = app, names, uploads

    async def __call__(self, scope: dict, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                check(scope, self.names)
                await self._pass_on(scope, receive, _with_headers(send))
            except Refused as refused:
                await _answer(send, refused)
        else:  # the page opens no sockets
            await send({"type": "websocket.close", "code": 1008})

    async def _pass_on(self, scope: dict, receive, send) -> None:
        path = scope["path"].rstrip("/")
        if scope["method"] in ("GET", "HEAD"):
            if "://" in path:
                raise Refused(404, "this page fetches no addresses")
            await self.app(scope, receive, send)
        elif scope["method"] == "POST" and path in (UPLOAD, *SERVICE):
            await self._upload(scope, receive, send)
        elif scope["method"] == "POST" and path in CALLS:
            await self.app(scope, _again(await _message(receive), receive), send)
        else:
            raise Refused(405, "this page does not answer that")

    async def _upload(self, scope: dict, receive, send) -> None:
        lengths = _values(scope, b"content-length")
        if len(lengths) != 1 or not lengths[0].isdecimal():
            raise Refused(411, "an upload must say its length")
        size, largest = int(lengths[0]), self.uploads.largest
        if size > largest + ENVELOPE:
            raise Refused(413, f"the picture is larger than {largest >> 20} MB, which this page does not take")
        if not self.uploads.announce(size):
            raise Refused(503, "too many pictures are being uploaded at once: try again")
        try:
            await self.app(scope, receive, send)
        finally:
            self.uploads.arrived(size)


def check(scope: dict, names: Names) -> None:
    """Raises Refused for a request that is not of this page."""
    hosts = _values(scope, b"host")
    if len(hosts) != 1:
        raise Refused(400, "a request must name one host")
    host = hosts[0].lower()
    if _name(host) not in names:
        raise Refused(403, "this page is not called by that name: open it at the address that it was started with")
    for origin in _values(scope, b"origin"):
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Refused(403, "this page answers no other page")
    if {"cross-site", "same-site"}.intersection(_values(scope, b"sec-fetch-site")):  # a browser's own word
        is_link = scope["method"] == "GET" and _values(scope, b"sec-fetch-dest") == ["document"]
        if not is_link:
            raise Refused(403, "this page answers no other page")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _values(scope: dict, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def _name(host: str) -> str:
    """Of `NAME`, `NAME:PORT`, `[IPv6]` or `[IPv6]:PORT`; empty for anything else."""
    try:
        parts = urlsplit(f"//{host}")
        is_plain = parts.netloc == host and parts.username is None and (parts.port is None or parts.port > 0)
        return (parts.hostname or "") if is_plain else ""
    except ValueError:
        return ""


async def _message(receive) -> bytes:
    """A call's whole body, checked."""
    body, is_more = b"", True
    while is_more:
        part = await receive()
        if part["type"] != "http.request":
            raise Refused(400, "the request was broken off")
        body += part.get("body", b"")
        is_more = part.get("more_body", False)
        if len(body) > MESSAGE:
            raise Refused(413, f"that is more than {MESSAGE >> 20} MB of text: shorten it")
    try:
        waiting = [json.loads(body)] if body else []
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the request is no JSON") from error
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and isinstance(part.get("path"), str) and "://" in part["path"]:
            raise Refused(400, "this page fetches no addresses")
        if isinstance(part, dict | list):
            waiting += part.values() if isinstance(part, dict) else part
    return body


def _again(body: bytes, receive):
    """`receive` as it was before the body was read."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> dict:
        return parts.pop() if parts else await receive()

    return give


def _with_headers(send):
    async def give(message: dict) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return give


async def _answer(send, refused: Refused) -> None:
    """JSON in the form that the page's own script shows."""
    body = json.dumps({"detail": refused.line, "error": refused.line}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))  # the rest of a refused body is not read
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
