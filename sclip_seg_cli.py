"""`sclip-seg WORD ...`, and what every file of tools/ calls. Beside the package, so that `--help` needs no torch.

A word's work is done by a module on the shelves, imported when the word is known.
"""

import signal
import sys
from importlib import import_module
from importlib.metadata import version

# word -> the module that does it, and what it is in a line.
WORDS = {
    "test": ("sclip_seg.evaluate.test", "evaluate a method on a dataset"),
    "demo": ("sclip_seg.show.demo", "segment pictures of one's own with words of one's own"),
    "attention": ("sclip_seg.show.attention", "draw what points of a picture look at, methods side by side"),
    "app": ("sclip_seg.show.app.command", "a page to play with, on this machine only"),
    "prepare": ("sclip_seg.data.prepare.command", "download, convert and verify the benchmarks"),
    "reproduce": ("sclip_seg.evaluate.grid.command", "run a paper's table, or any grid of methods and datasets"),
    "report": ("sclip_seg.evaluate.report.command", "one page over the results of many runs"),
    "speed": ("sclip_seg.measure.speed", "what a picture costs beside the bare vision transformer"),
    "list": ("sclip_seg.evaluate.listing", "list methods, datasets and backbones"),
    "parity": ("sclip_seg.measure.parity.command", "hold the methods against outputs of the official codes"),
    "gpu-check": ("sclip_seg.measure.gpu.check", "checks and measures on a GPU, in one go"),
    "toy-world": ("sclip_seg.toy.make", "draw the toy benchmark"),
    "toy-demo": ("sclip_seg.toy.demo", "every method on the toy benchmark, offline"),
    "toy-train": ("sclip_seg.toy.train", "train the toy tower"),
    "toy-guide-train": ("sclip_seg.toy.train_guide", "train the toy guide"),
}
USAGE = "usage: sclip-seg WORD ... (sclip-seg WORD --help says what a word takes)"


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the word's work; 0 after help, 2 after a word that there is not."""
    arguments = sys.argv[1:] if arguments is None else arguments
    word = arguments[0] if arguments else "--help"
    if word in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {name:<16} {line}" for name, (_, line) in WORDS.items())]))
        return 0
    if word == "--version":
        print(f"sclip_seg {version('sclip_seg')}")
        return 0
    if word not in WORDS:
        print(f"error: there is no word {word!r}; choose one of {', '.join(WORDS)}", file=sys.stderr)
        return 2
    return launch(word, arguments[1:])


def launch(word: str, arguments: list[str] | None = None) -> int:
    """Does a word's work. Ctrl-C while its libraries load ends it at once; then `sclip_seg.command.run` takes over."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        work = import_module(WORDS[word][0])
    finally:
        signal.signal(signal.SIGINT, before)
    return work.main(arguments)
