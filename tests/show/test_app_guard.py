"""Which requests reach the page, and how much they may bring."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.show.app.folder import LEAST, Uploads
from sclip_seg.show.app.guard import MESSAGE, UPLOAD, Guard, Names

JOIN = "/gradio_api/queue/join"
PORT = 7860
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = (
    st.lists(LABELS, min_size=2, max_size=4).map(".".join).filter(lambda name: not name.replace(".", "").isdigit())
)


class Inner:
    """Stands for gradio's application: keeps what reached it."""

    def __init__(self):
        self.bodies = []

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


def guarded(host="127.0.0.1", more=(), uploads=None):
    return Guard(Inner(), Names(host, more), uploads or Uploads(Path("nowhere")))


def ask(guard, method="GET", path="/", host=f"127.0.0.1:{PORT}", body=(b"",), **headers):
    """(status, text) of a request; the body comes in the given parts."""
    given = [(b"host", name.encode("latin-1", "replace")) for name in ([host] if isinstance(host, str) else host)]
    given += [(key.replace("_", "-").encode(), value.encode("latin-1", "replace")) for key, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    parts = [{"type": "http.request", "body": part, "more_body": i < len(body) - 1} for i, part in enumerate(body)]
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


@pytest.mark.parametrize(
    ("served", "own", "others"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "localhost.:7860", "[::1]:7860", "localhost:8888"],
            ["10.0.0.5:7860", "box:7860", "0.0.0.0:7860", "localhost.evil.example", "127.0.0.1.evil.example"],
        ),
        (
            "0.0.0.0",
            ["10.0.0.5:7860", "[fe80::1]:80", "box:7860", "proxy.example", "localhost:7860", "203.0.113.9"],
            ["box.evil.example", "evil.example:7860", "other"],
        ),
        ("box.lan", ["box.lan:7860", "BOX.LAN", "box"], ["evil.example", "x.box.lan"]),
    ],
)
def test_names_of_the_page(served, own, others):
    guard = guarded(served, ["box", "proxy.example"] if served != "127.0.0.1" else [])
    assert [ask(guard, host=host)[0] for host in own] == [200] * len(own)
    assert [ask(guard, host=host)[0] for host in others] == [403] * len(others)


@pytest.mark.parametrize("served", ["127.0.0.1", "0.0.0.0", "::1", "localhost", "192.168.0.7"])
@given(name=DOMAINS, port=st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)))
def test_no_name_of_others_is_answered(served, name, port):
    """Whatever name is made to point here."""
    status, text = ask(guarded(served), host=name + port)
    assert status == 403
    assert "not called by that name" in text


@pytest.mark.parametrize(
    "host",
    [
        *([], ["127.0.0.1", "evil.example"], "", " ", "a b", "@127.0.0.1", "u@127.0.0.1", "127.0.0.1/x", "127.0.0.1?x"),
        *("127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:99999", "[::1", "::1", "2130706433", "0x7f.1", "127.1", "é", "\0"),
    ],
)
def test_odd_hosts(host):
    guard = guarded()
    assert ask(guard, host=host)[0] in (400, 403)
    assert not guard.app.bodies


@given(
    st.one_of(
        st.sampled_from(["null", "http://localhost:3000", "http://127.0.0.1", "http://127.0.0.1:7861", "*", ""]),
        st.sampled_from(["http://127.0.0.1:7860.evil.example", "http://127.0.0.1:7860/", "ftp://127.0.0.1:7860"]),
        st.sampled_from(["http://localhost:7860", "file://", "http://evil@127.0.0.1:7860", "127.0.0.1:7860"]),
        DOMAINS.map("https://{}".format),
        st.text(max_size=20),
    ),
    st.sampled_from([("GET", "/"), ("POST", JOIN), ("POST", UPLOAD), ("OPTIONS", JOIN), ("GET", "/gradio_api/file=x")]),
)
def test_no_page_of_others_is_answered(origin, request_line):
    guard = guarded()
    status, _ = ask(guard, *request_line, origin=origin, content_length="0")
    assert status == 403
    assert not guard.app.bodies


def test_the_pages_own_origin():
    for host in (f"127.0.0.1:{PORT}", "localhost:8888"):
        assert ask(guarded(), "POST", JOIN, host, [b"{}"], origin=f"http://{host}")[0] == 200
    assert ask(guarded(), "POST", JOIN, "localhost", [b"{}"], origin="https://LOCALHOST")[0] == 200  # a proxy's


@pytest.mark.parametrize(
    ("site", "destination", "method", "status"),
    [
        ("same-origin", "empty", "POST", 200),
        ("none", "document", "GET", 200),
        ("cross-site", "document", "GET", 200),  # a link
        ("cross-site", "document", "POST", 403),
        ("cross-site", "image", "GET", 403),
        ("same-site", "empty", "GET", 403),  # another port of this machine
        ("cross-site", "iframe", "GET", 403),
    ],
)
def test_what_a_browser_says_of_the_asker(site, destination, method, status):
    place = dict(path=JOIN, body=[b"{}"]) if method == "POST" else {}
    assert ask(guarded(), method, **place, sec_fetch_site=site, sec_fetch_dest=destination)[0] == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", f"/{path}") for path in ("", "gradio_api/vibe-edit", "gradio_api/component_server")),
        *(("POST", f"/{path}") for path in ("gradio_api/process_recording", "gradio_api/run/x", "gradio_api/call/x")),
        *(("PUT", JOIN), ("DELETE", "/"), ("TRACE", "/"), ("OPTIONS", JOIN)),
        *(("GET", f"/gradio_api/{path}") for path in ("file=http://127.0.0.1:1/x", "proxy=https://x.hf.space/y")),
    ],
)
def test_what_the_page_does_not_do_is_not_answered(method, path):
    guard = guarded()
    assert ask(guard, method, path, body=[b"{}"])[0] in (404, 405)
    assert not guard.app.bodies


def test_sockets_are_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guarded()({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@given(st.lists(st.binary(max_size=50), max_size=4), st.integers(0, 3))
def test_a_call_comes_whole(parts, extra):
    body = json.dumps({"data": [part.hex() for part in parts]}).encode()
    cut = len(body) // (extra + 1)
    guard = guarded()
    assert ask(guard, "POST", JOIN, body=[body[:cut], body[cut:]])[0] == 200
    assert guard.app.bodies == [body]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([b'"' + b"x" * MESSAGE + b'"'], 413),
        ([b"x" * (MESSAGE // 8)] * 9, 413),
        ([b"{"], 400),
        ([b"[" * 100_000], 400),
        ([b"\xff\xfe"], 400),
        ([b'{"data": [{"path": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}]}'], 400),
        ([b'{"data": [[{"a": {"path": "https://example.com/x"}}]]}'], 400),
    ],
)
def test_calls_that_are_refused(body, status):
    guard = guarded()
    answer, text = ask(guard, "POST", JOIN, body=body)
    assert answer == status
    assert json.loads(text)["detail"]
    assert not guard.app.bodies


def test_uploads_have_a_size(tmp_path):
    guard = guarded(uploads=Uploads(tmp_path, largest=1000, total=10 * LEAST))
    assert ask(guard, "POST", UPLOAD, body=[b"x"], content_length="1")[0] == 200
    assert ask(guard, "POST", UPLOAD, body=[b"x"])[0] == 411
    assert ask(guard, "POST", UPLOAD, body=[b"x"], content_length="-1")[0] == 411
    assert ask(guard, "POST", UPLOAD, body=[b"x"], content_length=str(10**9))[0] == 413
    guard.uploads.coming = 10 * LEAST
    assert ask(guard, "POST", UPLOAD, body=[b"x"], content_length="9")[0] == 503
    guard.uploads.coming = 0
    assert ask(guard, "POST", UPLOAD, body=[b"x"], content_length="9")[0] == 200
    assert guard.uploads.coming == 0
    assert len(guard.app.bodies) == 2
