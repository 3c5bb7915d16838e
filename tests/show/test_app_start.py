"""How `sclip-seg app` is started: mistakes in a line, examples, and who is served."""

import os
import socket
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from sclip_seg.show.app import command as tool
from sclip_seg.show.app import examples
from sclip_seg.show.app.session import open_picture

pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")


def test_start_needs_gradio(monkeypatch, capsys):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tool, "version", missing)
    assert tool.main([]) == 2
    assert capsys.readouterr().err == "error: the page needs gradio: pip install .[app]\n"
    monkeypatch.setattr(tool, "version", lambda name: "6.2.0")
    assert tool.main([]) == 2
    assert capsys.readouterr().err.startswith("error: gradio 6.2.0 is too old")


def test_start_on_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert tool.main(["--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the page cannot be served at 127.0.0.1, port {port}: Address already in use")


def status_of(arguments):
    """The exit status, also of what argparse refuses."""
    try:
        return tool.main(arguments)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backbone", "nonsense"], "there is no backbone 'nonsense'"),
        (["--backbone", "toi"], "did you mean toy"),
        (["--host", "no.such.host.invalid"], "cannot be served at no.such.host.invalid"),
        (["--examples", "no_such_folder"], "is no folder with pictures"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_start_with_mistakes(arguments, said, capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert status_of(["--port", str(port), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_only_loopback_is_served_unless_asked_for():
    assert tool.parse([]).host == "127.0.0.1"
    assert [tool.is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.1.2.3", "mine")] == [
        *(True, True, True),
        *(False, False, False),
    ]


def test_drawn_examples_need_no_data(tmp_path):
    drawn = examples.drawn(tmp_path)
    assert len(drawn) >= 4
    assert all(open_picture(example.path).pixels.std() > 10 for example in drawn)
    assert all(len(example.words.split(", ")) > 2 and example.background for example in drawn)


def test_examples_of_a_folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", *(f"c{i:02}.png" for i in range(20))):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.txt").write_text("dog; puppy, grass\nsky\n")
    found = examples.examples_of(Path(os.path.relpath(tmp_path)))
    paths = [example.path for example in found]
    assert [path.name for path in paths[:3]] == ["a.jpg", "b.PNG", "c00.png"]
    assert len(paths) == examples.MOST
    assert all(path.is_absolute() for path in paths)
    assert [(one.words, one.background) for one in found[:2]] == [("dog; puppy, grass", "sky"), ("", "")]


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
    assert status_of(["--port", str(port), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
