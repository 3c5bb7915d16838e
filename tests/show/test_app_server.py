"""`sclip-seg app` as a process: whom it answers, what it takes, and that it leaves nothing behind."""

import http.client
import json
import os
import signal

import pytest
from app_browser import started
from waiting import PATIENCE

from sclip_seg.show.app import command as tool
from sclip_seg.show.app.guard import MESSAGE, UPLOAD

JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page may put what it needs, with what one before left when it was killed: a folder, by name."""
    place = tmp_path_factory.mktemp("app")
    with started(place) as (server, _, log):
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    log.unlink()
    (left,) = place.glob("sclip_seg-*")
    assert list(left.glob("scene_*.png"))
    return place, left


@pytest.fixture(scope="module")
def served(folder):
    """Port and log of a page. That SIGINT ends one is seen where a browser looks at it."""
    place, _ = folder
    with started(place) as (server, port, log):
        yield port, log
        tab = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        tab.request("GET", "/gradio_api/heartbeat/abc")
        assert tab.getresponse().readline()
        os.kill(server.pid, signal.SIGHUP)  # which is handed on as SIGTERM
        assert server.wait() == 0
        assert not list(place.glob("sclip_seg-*"))
        assert "Traceback" not in log.read_text()


def test_what_a_kill_left_is_cleared_at_the_next_start(served, folder):
    place, left = folder
    assert not left.exists()
    assert len(list(place.glob("sclip_seg-*"))) == 1


def ask(port, method="GET", path="/", body=None, **headers):
    """(status, body) of the answer; `host` and others replace what a browser would send."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    own = {"Host": f"127.0.0.1:{port}"} | {key.replace("_", "-").title(): value for key, value in headers.items()}
    connection.request(method, path, body, own)
    answer = connection.getresponse()
    found = answer.status, b"" if "event-stream" in (answer.getheader("Content-Type") or "") else answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    "path", ["/", "/config", "/theme.css", "/gradio_api/heartbeat/x", "/gradio_api/startup-events"]
)
def test_only_its_own_names_and_pages(served, path):
    port, log = served
    assert ask(port, path=path)[0] == 200
    assert ask(port, path=path, host=f"evil.example:{port}")[0] == 403
    assert ask(port, path=path, origin="http://localhost:3000")[0] == 403
    assert ask(port, path=path, origin=f"http://127.0.0.1:{port}")[0] == 200
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("path", [JOIN, UPLOAD, "/gradio_api/cancel", "/gradio_api/reset"])
def test_nothing_is_done_for_others(served, path):
    port, _ = served
    for headers in ({"host": "evil.example"}, {"origin": "null"}, {"origin": f"http://localhost:{port}"}):
        assert ask(port, "POST", path, b"{}", **headers)[0] == 403
        assert ask(port, "OPTIONS", path, access_control_request_method="POST", **headers)[0] == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/gradio_api/deep_link", "/etc/passwd"])
def test_no_other_pages(served, path):
    assert ask(served[0], path=path)[0] in (404, 405, 422)


def test_files_of_this_machine_are_not_served(served, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_text("hush")
    for path in (secret, "/etc/passwd", "../../../etc/passwd", tool.__file__, "file:///etc/passwd"):
        assert ask(served[0], path=f"/gradio_api/file={path}")[0] in (403, 404)


def multipart(content, name="x.png"):
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--b--\r\n"


def test_uploads_are_taken_and_bounded(served):
    port, log = served
    kind = {"content_type": "multipart/form-data; boundary=b"}
    status, answer = ask(port, "POST", UPLOAD, multipart(b"some bytes"), **kind)
    assert status == 200
    (path,) = json.loads(answer)
    assert ask(port, path=f"/gradio_api/file={path}")[1] == b"some bytes"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.putrequest("POST", UPLOAD)
    connection.putheader("Content-Type", kind["content_type"])
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()  # before anything was sent
    assert answer.status == 413
    assert "MB" in json.loads(answer.read())["error"]
    assert "Traceback" not in log.read_text()


def test_long_calls_are_refused_in_words(served):
    status, answer = ask(served[0], "POST", JOIN, json.dumps({"data": ["x" * MESSAGE]}))
    assert status == 413
    assert "shorten" in json.loads(answer)["detail"]
