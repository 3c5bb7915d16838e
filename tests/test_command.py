"""What a user can cause ends in one line and a status, in every tool, also before its libraries are loaded."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_readme import TOOLS
from waiting import PATIENCE, until

from sclip_seg.command import one_line, run
from sclip_seg.errors import InputError


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


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_every_tool_is_run_so(tool):
    """Its first statement takes care of Ctrl-C while the libraries load, and `main` ends in `run`."""
    tree = ast.parse(tool.read_text())
    body = [node for node in tree.body[1:] if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")]
    assert ast.unparse(body[0]) == "import signal"
    assert "signal.signal(signal.SIGINT, signal.SIG_DFL)" in ast.unparse(body[1])
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    returned = [node.value for node in ast.walk(main) if isinstance(node, ast.Return)]
    assert returned
    assert all(isinstance(value, ast.Call) and value.func.id == "run" for value in returned)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc to see a library in")
def test_ctrl_c_while_the_libraries_load(tmp_path):
    command = [sys.executable, str(Path(__file__).parents[1] / "tools" / "test.py"), "--list"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    maps = Path(f"/proc/{process.pid}/maps")
    until(lambda: "libtorch" in maps.read_text(), "torch", lambda: process.poll() is None)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-signal.SIGINT, 130, 0)
    assert b"Traceback" not in err
