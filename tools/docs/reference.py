"""The reference: the package's docstrings shelf by shelf, which mkdocstrings reads, and the help of each word."""

import contextlib
import io
import os
from pathlib import Path

import sclip_seg_cli

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sclip_seg"
BESIDE = ("config", "axes", "options", "settings", "registry", "errors")
# Page -> its title, and the folders or files whose modules stand on it.
SHELVES = {
    "python": ("From Python", ["show/predictor.py"]),
    "settings": ("Configs and settings", [f"{name}.py" for name in BESIDE]),
    "words": ("words/", ["words"]),
    "towers": ("towers/", ["towers"]),
    "regions": ("regions/", ["regions"]),
    "picture": ("picture/", ["picture"]),
    "methods": ("methods/", ["methods"]),
    "data": ("data/", ["data"]),
    "evaluate": ("evaluate/", ["evaluate"]),
    "label": ("label/", ["label"]),
}
PAGES = {"commands": "The commands"} | {name: title for name, (title, _) in SHELVES.items()}


def pages() -> dict[str, str]:
    """Each page's Markdown, by its name."""
    made = {"index": index(), "commands": commands()}
    for name, (title, places) in SHELVES.items():
        made[name] = f"# {title}\n\n" + "\n\n".join(f"::: {module}" for place in places for module in modules(place))
    return made


def index() -> str:
    """What there is."""
    lines = [f"* [{title}]({name}.md)" for name, title in PAGES.items()]
    return "# Reference\n\nMade from the docstrings and from each command's `--help`.\n\n" + "\n".join(lines)


def modules(place: str) -> list[str]:
    """The modules of a folder of the package, or of one file, by their dotted names."""
    paths = sorted((PACKAGE / place).rglob("*.py")) if not place.endswith(".py") else [PACKAGE / place]
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    return [name for name in names if not name.endswith("__init__")]


def commands() -> str:
    """The help of every word of `sclip-seg`."""
    texts = []
    for word, (_, line) in sclip_seg_cli.WORDS.items():
        texts.append(f"## sclip-seg {word}\n\n{line[0].upper()}{line[1:]}.\n\n```text\n{help_of(word)}\n```")
    first = "# The commands\n\nExit status: 0 for done, 2 for what the user can mend, said in a line."
    return "\n\n".join([first, *texts])


def help_of(word: str) -> str:
    """What `sclip-seg WORD --help` prints."""
    said = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            sclip_seg_cli.main([word, "--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return said.getvalue().strip()
