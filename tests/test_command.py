"""What a user can cause ends in one line and a status, in every tool, also before its libraries are loaded."""

import ast
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from waiting import PATIENCE, until

import sclip_seg_cli
from sclip_seg.command import Parser, one_line, run
from sclip_seg.errors import InputError
from sclip_seg_cli import WORDS, launch

ROOT = Path(__file__).parents[1]
TOOLS = sorted((ROOT / "tools").glob("*.py"))


class OutOfMemoryError(RuntimeError):
    """Called as torch's own of a GPU."""


CAUSED = [
    (InputError("the thing is wrong"), "error: the thing is wrong"),
    (InputError("class A in a/b.py: InputError: the thing is wrong"), "error: the thing is wrong"),
    (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device"),
    (MemoryError(), "error: out of memory; fewer windows at a time"),
    (
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory: you tried"),
        "error: out of memory",
    ),
    (OutOfMemoryError("tried to allocate 2 GiB"), "error: out of GPU memory; try --cfg-options model.window.batch=1"),
]


@pytest.mark.parametrize(("error", "told"), CAUSED, ids=lambda value: type(value).__name__)
def test_what_a_user_can_cause_is_a_line_and_status_2(error, told, capsys):
    def work():
        raise error

    assert run(work) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)


def test_what_is_too_large_for_the_memory_is_a_line(capsys):
    assert run(lambda: torch.empty(10**15)) == 2
    assert capsys.readouterr().err.startswith("error: out of memory")


def test_a_fault_of_ours_is_not_hidden():
    def work():
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        run(work)


def test_stopped(capsys):
    def work():
        raise KeyboardInterrupt

    assert run(work, goes_on="the same command goes on") == 130
    assert capsys.readouterr().err == "stopped; the same command goes on\n"
    assert run(work) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_status_of_what_ends_well():
    assert run(lambda: None) == 0
    assert run(lambda: 1) == 1


def test_one_line():
    assert one_line("a\n  b\tc") == "a b c"


def main_of(path):
    """What the `main` of a file returns, as expressions."""
    body = ast.parse(path.read_text()).body
    (main,) = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    return [node.value for node in ast.walk(main) if isinstance(node, ast.Return)]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_ends_in_run(word):
    returned = main_of(ROOT / f"{WORDS[word][0].replace('.', '/')}.py")
    assert returned
    assert all(isinstance(value, ast.Call) and value.func.id == "run" for value in returned)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_every_tool_launches_a_word(tool):
    """And imports nothing else, so that Ctrl-C is taken care of before any library is loaded."""
    imported = [node for node in ast.walk(ast.parse(tool.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imported] == ["import sys", "from sclip_seg_cli import launch"]
    (returned,) = main_of(tool)
    assert returned.func.id == "launch"
    word, arguments = returned.args
    assert word.value in WORDS
    assert arguments.id == "arguments"


def test_help_and_mistakes_need_no_library():
    for arguments, status, said in (
        (["--help"], 0, "toy-world"),
        ([], 0, "usage: sclip-seg WORD"),
        (["tets"], 2, "did you mean test or"),
    ):
        code = f"import sys, sclip_seg_cli; print(sclip_seg_cli.main({arguments}), 'sclip_seg' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
        assert done.stdout.splitlines()[-1] == f"{status} False", done.stderr
        assert said in done.stdout + done.stderr


def test_version(capsys):
    assert sclip_seg_cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sclip_seg ")


@pytest.mark.parametrize(
    ("first", "called"),
    [("tools/test.py", "tools/test.py"), ("/a/tools/test.py", "tools/test.py"), ("a/pytest", "pytest")],
)
def test_usage_says_what_was_called(first, called, monkeypatch):
    monkeypatch.setattr(sys, "argv", [first, "x"])
    assert Parser().prog == called


def test_usage_says_the_word(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", before := ["sclip-seg", "list", "--help"])
    with pytest.raises(SystemExit):
        sclip_seg_cli.main()
    assert capsys.readouterr().out.startswith("usage: sclip-seg list [-h]")
    assert sys.argv is before


def test_the_launcher_leaves_the_handlers_of_others(monkeypatch):
    """Ctrl-C is Python's own again afterwards; a handler of the caller's, and any in another thread, stay."""
    seen = []

    class Work:
        @staticmethod
        def main(arguments):
            seen.append(signal.getsignal(signal.SIGINT))
            return run(lambda: seen.append(signal.getsignal(signal.SIGINT)))

    def mine(number, frame):
        raise AssertionError

    monkeypatch.setattr(sclip_seg_cli, "import_module", lambda name: Work)
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler, while_loading in ((signal.default_int_handler, signal.SIG_DFL), (mine, mine)):
            signal.signal(signal.SIGINT, handler)
            assert launch("test", []) == 0
            assert seen == [while_loading, handler]
            assert signal.getsignal(signal.SIGINT) is handler
            seen.clear()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(launch, "test", []).result() == 0
        assert seen == [mine, mine]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc to see a library in")
@pytest.mark.parametrize("program", [("tools/test.py", "sclip"), ("sclip_seg_cli.py", "test", "sclip")], ids=str)
def test_ctrl_c_while_the_libraries_load(tmp_path, program):
    command = [sys.executable, str(ROOT / program[0]), *program[1:]]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    maps = Path(f"/proc/{process.pid}/maps")
    until(lambda: "libtorch" in maps.read_text(), "torch", lambda: process.poll() is None)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-signal.SIGINT, 130, 0)
    assert b"Traceback" not in err
