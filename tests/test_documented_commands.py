"""Commands that pages and helps tell to type: arguments are read, and settings arrive as what they are meant to be."""

import re
import shlex
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest

from sclip_seg.command import Parser
from sclip_seg.config import load_config
from sclip_seg.options import parse_options
from sclip_seg_cli import WORDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *(ROOT / "docs").rglob("*.md")]
ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<"}


def commands_in(text):
    """The words after `sclip-seg` of each command in a text, comments and what follows a bar left out."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if "sclip-seg " not in line or "..." in line:
            continue
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        words = [*reader]
        start = next((place for place, word in enumerate(words) if Path(word).name == "sclip-seg"), None)
        if start == 0 or (start and words[0] == "srun"):  # else it is within a sentence
            rest = words[start + 1 :]
            yield rest[: next((place for place, word in enumerate(rest) if word in ENDS), len(rest))]


def documented():
    """Each command with the page or the word's help that shows it."""
    for path in PAGES:
        blocks = re.findall(r"^```sh\n(.*?)^```|^((?: {4}\S.*\n)+)", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for command in commands_in("\n".join(fenced or indented for fenced, indented in blocks)):
            yield path.relative_to(ROOT).as_posix(), command
    for word, (module, _) in WORDS.items():
        for command in commands_in(import_module(module).__doc__):
            yield f"sclip-seg {word} --help", command


class Read(Exception):
    """Carries what a command line was read as."""


def read(word, arguments):
    """The namespace of a word's arguments; its work is not begun."""
    module = import_module(WORDS[word][0])
    if hasattr(module, "parse"):
        return module.parse(arguments)
    own = Parser.parse_args

    def stop(parser, *given):
        raise Read(own(parser, *given))

    with patch.object(Parser, "parse_args", stop), pytest.raises(Read) as found:
        module.main(arguments)
    return found.value.args[0]


def texts(value):
    """Every text in a setting."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


COMMANDS = [*documented()]


def test_commands_are_found():
    assert {"test", "demo", "label", "train", "app", "prepare", "reproduce", "report"} <= {
        word for _, (word, *_) in COMMANDS
    }
    assert len(COMMANDS) > 80


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=lambda part: part if isinstance(part, str) else part[0])
def test_a_documented_command_is_read(place, command, capsys):
    word, *arguments = command
    if "--help" in arguments or word.startswith("--"):
        return
    try:
        options = read(word, arguments)
    except SystemExit:
        pytest.fail(f"{place}: sclip-seg {shlex.join(command)}: {capsys.readouterr().err}")
    given = getattr(options, "cfg_options", {})
    settings = given if isinstance(given, dict) else parse_options(given)
    unread = [text for value in settings.values() for text in texts(value) if re.search(r"^[\[({]|\w\(", text)]
    assert not unread, f"{place}: {unread} is read as a text"
    if settings and word == "test" and not place.startswith("docs/add/"):  # those name what their page adds
        assert load_config(options.config, options.dataset, options.backbone, settings)


def test_curl_sends_words_as_they_are():
    """`-F name=value` drops what is behind a semicolon, which stands between synonyms; `--form-string` does not."""
    calls = [line for path in PAGES for line in path.read_text().splitlines() if line.lstrip().startswith("curl ")]
    assert len(calls) > 4
    assert not [line for line in calls if re.search(r'-F \w+="?[^" ]*;', line)]
