"""`--cfg-options`: what was typed is what arrives."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.command import Parser
from sclip_seg.errors import InputError
from sclip_seg.options import add_options, parse_options, parse_value, put

NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(max_size=12)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))


@given(VALUES)
def test_whatever_python_writes_is_read_as_it_was(value):
    assert parse_value(repr(value)) == value


@given(st.text(string.ascii_letters + "{}.;:/~ '-_", min_size=1))
def test_a_text_keeps_its_blanks_quotes_and_braces(text):
    typed = f"a {text}"  # begins as no literal does
    assert parse_value(typed) == typed


WORD = (
    st.text(string.ascii_letters + "{}.; ", min_size=1)
    .map(str.strip)
    .filter(
        lambda word: word and word.lower() not in ("true", "false", "none") and word.count("{") == word.count("}") == 0
    )
)


@given(st.lists(WORD, min_size=1, max_size=5))
def test_entries_of_a_list_need_no_quotes_and_keep_their_blanks(words):
    assert parse_value(f"[{', '.join(words)}]") == words
    assert parse_value(repr(words)) == words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("40", 40),
        ("1e-3", 1e-3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("none", None),
        ("", ""),
        ("1,2", [1, 2]),
        ("(1, 2)", [1, 2]),
        ("a,b", "a,b"),
        ("data/a, b.txt", "data/a, b.txt"),
        ("[PAMR]", ["PAMR"]),
        ("[PAMR,Closing]", ["PAMR", "Closing"]),
        ("[a photo of a {}., {} in the scene.]", ["a photo of a {}.", "{} in the scene."]),
        ("['a photo of a {}.']", ["a photo of a {}."]),
        ('["it\'s a {}, really"]', ["it's a {}, really"]),
        ("[it's a {}., don't know]", ["it's a {}.", "don't know"]),
        ("[[a, 1], [b, None]]", [["a", 1], ["b", None]]),
        ("{'type': 'PAMR', 'steps': 3}", {"type": "PAMR", "steps": 3}),
        ("[dog; hot dog, cat]", ["dog; hot dog", "cat"]),
        ("'40'", "40"),
        ("007", "007"),
        ("nan", "nan"),
        ("[open", "[open"),
        ("b'bytes'", "b'bytes'"),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("a=b", "a=b"),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_nothing_that_is_typed_ends_in_a_traceback():
    for text in ("[" * 5000, "(" * 200 + ")" * 200, "9" * 10000, "{" * 300, "'" * 3, "\x00", "-" * 5000 + "1"):
        with suppress(InputError):
            parse_value(text)


@pytest.mark.parametrize("option", ["model", "=3", "model..x=3", ".x=3", "x.=3", ""])
def test_what_is_no_key_and_value_is_refused(option):
    with pytest.raises(InputError, match="KEY=VALUE"):
        parse_options([option])


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("a.b", 3, {"a": {"b": 3, "c": [1, {"d": 2}]}}),
        ("a.c.1.d", 5, {"a": {"b": 1, "c": [1, {"d": 5}]}}),
        ("a.c", None, {"a": {"b": 1, "c": None}}),
        ("a", {"b": 9}, {"a": {"b": 9, "c": [1, {"d": 2}]}}),
        ("a", {"e": 9, "_delete_": True}, {"a": {"e": 9}}),
        ("a.b", {"type": "x"}, {"a": {"b": {"type": "x"}, "c": [1, {"d": 2}]}}),
        ("x.y", 1, {"a": {"b": 1, "c": [1, {"d": 2}]}, "x": {"y": 1}}),
    ],
)
def test_where_a_value_goes(key, value, found):
    settings = {"a": {"b": 1, "c": (1, {"d": 2})}}
    put(settings, key, value)
    assert settings["a"].pop("c", None) in ((1, {"d": 2}), *[found["a"].get("c")])
    found["a"].pop("c", None)
    assert settings == found


@pytest.mark.parametrize("key", ["a.b.c", "a.c.2", "a.c.x"])
def test_a_way_through_what_has_no_parts(key):
    with pytest.raises(InputError, match="what stands there is"):
        put({"a": {"b": 1, "c": [1, 2]}}, key, 3)


def test_as_an_argument(capsys):
    parser = Parser(prog="tool")
    add_options(parser)
    assert parser.parse_args([]).cfg_options == {}
    typed = ["--cfg-options", "a.b=[x y, z]", "c=1", "--cfg-options", "c=2"]
    assert parser.parse_args(typed).cfg_options == {"a.b": ["x y", "z"], "c": 2}
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--cfg-options", "nothing"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --cfg-options takes KEY=VALUE")
    assert len(told.splitlines()) == 1
