"""`sclip-seg WORD ...`, and what every file of tools/ calls. It lies beside the package: its help needs no torch.

A word's command line is a module on the shelves, imported when the word is known; what does its work, and the
libraries that this needs, are imported when the arguments are read.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

# word -> the module that reads its arguments, and what it is in a line.
WORDS = {
    "test": ("sclip_seg.evaluate.test", "evaluate a method on a dataset"),
    "demo": ("sclip_seg.show.demo_command", "segment pictures of one's own with words of one's own"),
    "label": ("sclip_seg.label.command", "label folders, shards and videos, for others to train on"),
    "train": ("sclip_seg.students.train_command", "train a student on what label wrote"),
    "score-student": ("sclip_seg.students.score_command", "evaluate a trained student on a dataset"),
    "attention": ("sclip_seg.show.attention_command", "draw what points of a picture look at, methods side by side"),
    "app": ("sclip_seg.show.app.command", "a page to play with, on this machine only"),
    "prepare": ("sclip_seg.data.prepare.command", "download, convert and verify the benchmarks"),
    "regions": ("sclip_seg.evaluate.regions_command", "find the regions of a dataset's pictures ahead"),
    "region-bank": ("sclip_seg.evaluate.region_bank_command", "make a bank of regions from a folder of pictures"),
    "remember": ("sclip_seg.evaluate.remember_command", "remember a few labelled pictures, to find what they show"),
    "convert-zsseg": ("sclip_seg.evaluate.convert_zsseg_command", "zsseg's published checkpoint for transformers"),
    "convert-scan": ("sclip_seg.evaluate.convert_scan_command", "SCAN's published checkpoint for transformers"),
    "reproduce": ("sclip_seg.evaluate.grid.command", "run a paper's table, or any grid of methods and datasets"),
    "report": ("sclip_seg.evaluate.report.command", "one page over the results of many runs"),
    "speed": ("sclip_seg.measure.speed_command", "what a picture costs beside the bare vision transformer"),
    "rank-templates": ("sclip_seg.evaluate.rank_templates_command", "find each class's surest prompt templates"),
    "list": ("sclip_seg.evaluate.listing", "list methods, datasets and backbones"),
    "towers": ("sclip_seg.measure.towers_command", "hold every tower of open_clip against itself, at one block"),
    "parity": ("sclip_seg.measure.parity_command", "hold the methods against outputs of the official codes"),
    "gpu-check": ("sclip_seg.measure.gpu.command", "checks and measures on a GPU, in one go"),
    "toy-world": ("sclip_seg.toy.make", "draw the toy benchmark"),
    "toy-words": ("sclip_seg.toy.words_command", "words found and things remembered in the toy world, offline"),
    "toy-demo": ("sclip_seg.toy.demo_command", "methods on the toy benchmark, offline"),
    "toy-ranks": ("sclip_seg.toy.ranks_command", "hold the toy benchmark's ranking against the papers'"),
    "toy-student": ("sclip_seg.students.toy_command", "a teacher and its student on the toy world, offline"),
    "toy-train": ("sclip_seg.toy.train_command", "train the toy tower"),
    "toy-guide-train": ("sclip_seg.toy.train_guide_command", "train the toy guide"),
}
USAGE = "usage: sclip-seg WORD ... (sclip-seg WORD --help says what a word takes)"
EVERY = "Every word takes --quiet: errors and the result alone, no bars, no notices."


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the word's work; 0 after help, 2 after a word that there is not."""
    if "_ARGCOMPLETE" in os.environ and (completed := import_module("sclip_seg.completion").word([*WORDS])):
        return import_module(WORDS[completed][0]).main([])
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if word in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {name:<16} {line}" for name, (_, line) in WORDS.items()), "", EVERY]))
        return 0
    if word == "--version":
        try:
            print(f"sclip_seg {version('sclip_seg')}")
        except PackageNotFoundError:  # a checkout that is not installed
            print(f"sclip_seg {import_module('sclip_seg').__version__}")
        return 0
    if word not in WORDS:
        near = get_close_matches(word, WORDS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(WORDS)}"
        print(f"error: there is no word {word!r}; {hint}", file=sys.stderr)
        return 2
    before = sys.argv
    sys.argv = [f"sclip-seg {word}", *rest]  # which usage lines are made of
    try:
        return launch(word, None if arguments is None else rest)
    finally:
        sys.argv = before


def launch(word: str, arguments: list[str] | None = None) -> int:
    """Exit status of a word's work; without `arguments` it takes the command line's, in a process of its own."""
    with ends_at_once():
        return import_module(WORDS[word][0]).main(arguments)


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Ctrl-C ends the process without a word, e.g. while libraries load, until `sclip_seg.command.run` takes over.

    Whoever has a handler of their own, or calls from another thread than the main one, keeps what there is.
    """
    before = signal.getsignal(signal.SIGINT)
    is_pythons = before in (signal.default_int_handler, signal.SIG_IGN)
    if not is_pythons or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
