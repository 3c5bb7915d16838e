"""tools/app.py as a process: whom it answers, what it takes, and that it leaves nothing behind."""

import http.client
import json
import signal
import socket

import pytest
from app_browser import started
from loaded import load_tool
from waiting import PATIENCE

from sclip_seg.app.guard import MESSAGE, UPLOAD

tool = load_tool("app")
JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Port and log of a page."""
    folder = tmp_path_factory.mktemp("app")
    with started(folder) as (server, port, log):
        yield port, log
        end(server, folder, log, signal.SIGTERM)


def end(server, folder, log, sent):
    """Ends a page; nothing may stay behind."""
    assert len(list(folder.glob("sclip_seg-*"))) == 1
    server.send_signal(sent)
    assert server.wait(PATIENCE) == 0
    assert not list(folder.glob("sclip_seg-*"))
    assert "Traceback" not in log.read_text()


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


def test_what_a_kill_left_is_cleared_at_the_next_start(tmp_path):
    with started(tmp_path) as (server, _, _):
        server.kill()
        server.wait()
    (left,) = tmp_path.glob("sclip_seg-*")
    assert list(left.glob("scene_*.png"))
    with started(tmp_path) as (server, port, log):
        assert not left.exists()
        tab = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        tab.request("GET", "/gradio_api/heartbeat/abc")
        assert tab.getresponse().readline()
        end(server, tmp_path, log, signal.SIGHUP)  # SIGTERM and SIGINT end the pages of the other tests


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--port", port] for port in ("0", "-1", "65536", "99999999999999999999")),
        *(
            ["--host", host]
            for host in ("", " ", "a b", "x" * 300, "é" * 80, "999.1.1.1", "http://127.0.0.1", "::zz", "[")
        ),
        *(["--device", device] for device in ("", "meta", "cuda:9999", "cpu:x")),
        *(["--backbone", backbone] for backbone in ("", "../toy", "_base_")),
        *(["--examples", folder] for folder in ("", "/dev/null", "x" * 300, "a\0b")),
    ],
    ids=str,
)
def test_mistakes_are_one_line(arguments, capsys, monkeypatch):
    monkeypatch.setattr(tool, "serve_page", lambda *_: pytest.fail("it was served"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert tool.main(["--port", str(port), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
