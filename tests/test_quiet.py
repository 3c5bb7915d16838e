"""`--quiet`: every word takes it, and then says errors and its result alone; bars are shown on terminals."""

import argparse
import io
import logging
import os
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from sclip_seg.bars import Bar, notice
from sclip_seg.command import Parser, run
from sclip_seg.errors import InputError
from sclip_seg.evaluate.grid.screen import Screen
from sclip_seg.quiet import ASKED, OTHERS, is_quiet
from sclip_seg.show import demo_command
from sclip_seg.toy.make import make
from sclip_seg_cli import WORDS

PACKAGE = Path(__file__).parents[1] / "sclip_seg"


class Terminal(io.StringIO):
    """As far as those who write to it can tell."""

    def isatty(self):
        return True


@pytest.fixture
def terminals(monkeypatch):
    """`terminals()` makes stdout and stderr such, within a test, and returns the two."""

    def make():
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Terminal())
        return sys.stdout, sys.stderr

    return make


@pytest.fixture
def asked():
    """`--quiet` as it is given; what `run` ends is over by the end of the test."""
    assert not is_quiet()
    assert vars(Parser().parse_args(["--quiet"])) == {}
    yield
    assert not is_quiet()
    assert not OTHERS.keys() & os.environ.keys()
    assert logging.root.manager.disable == logging.NOTSET


class Asked(Exception):
    """Holds the parser of a word, which was asked for its arguments."""


def parsers_of(word, monkeypatch):
    def parse_args(parser, *arguments):
        raise Asked(parser)

    monkeypatch.setattr(Parser, "parse_args", parse_args)
    with pytest.raises(Asked) as asked:
        import_module(WORDS[word][0]).main([])
    (parser,) = asked.value.args
    nested = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(inner for group in nested for inner in group.values())]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_takes_it(word, monkeypatch):
    for parser in parsers_of(word, monkeypatch):
        assert "--quiet  " in parser.format_help()


def test_bars_are_made_in_one_place():
    makers = [path for path in PACKAGE.rglob("*.py") if "import tqdm" in path.read_text()]
    assert makers == [PACKAGE / "bars.py"]


def say_all():
    """Whatever is said beside a result."""
    for _ in Bar(range(3), desc="pictures"):
        notice("it goes on")
    warnings.warn("this is odd", UserWarning, stacklevel=1)
    logging.getLogger("mmengine").warning("this too")
    screen = Screen(sys.stdout)
    screen.say("done: a cell")
    screen.show(["a block"])


def test_without_it_all_is_said(terminals):
    out, err = terminals()
    assert run(say_all) == 0
    for words in ("pictures: 100%", "warning: this is odd"):
        assert words in err.getvalue()
    for words in ("it goes on\n", "done: a cell\n", "a block\n"):
        assert words in out.getvalue()


@pytest.mark.usefixtures("asked")
def test_with_it_nothing_is(terminals):
    out, err = terminals()
    shown = []

    def work():
        say_all()
        shown.extend(warnings.showwarning.shown)
        print("the result")
        return 1

    assert run(work) == 1
    assert (out.getvalue(), err.getvalue()) == ("the result\n", "")
    assert shown == ["this is odd"]  # the result file has it


@pytest.mark.usefixtures("asked")
def test_errors_and_processes_that_are_started(terminals):
    out, err = terminals()

    def work():
        code = f"import os; print({ASKED!r} in os.environ, os.environ['TQDM_DISABLE'])"
        print(subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True).stdout, end="")
        raise InputError("the thing is wrong")

    assert run(work) == 2
    assert out.getvalue() == "True 1\n"
    assert err.getvalue() == "error: the thing is wrong\n"


def test_a_run_that_prints_nothing_on_stderr(tmp_path, monkeypatch, terminals):
    """Two pictures, and a word that the toy tower never learned."""
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=2, seed=0)
    given = ["data/toy/images/val", "--backbone", "toy", "--classes", "tomato, banjo", "--out-dir", "out"]
    small = ["--cfg-options", "model.templates=photo", "model.text_cache=None"]
    told = []
    for quiet in ([], ["--quiet"]):
        out, err = terminals()
        assert demo_command.main([*given, *quiet, *small]) == 0
        told.append((out.getvalue(), err.getvalue()))
    (result, said), with_it = told
    assert "warning: " in said
    assert "2/2" in said
    assert "written to out" in result
    assert with_it == (result, "")
