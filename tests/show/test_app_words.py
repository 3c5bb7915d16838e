"""Words that the page finds, and regions that it remembers: what is computed, marked, bounded, and answered by name."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browser import Page as Parsed
from made_results import HOSTILE
from PIL import Image

from sclip_seg.config import WORDS as WITHOUT_DATASET
from sclip_seg.errors import InputError
from sclip_seg.evaluate import remember_region
from sclip_seg.evaluate.remember_region import region_at
from sclip_seg.evaluate.remembered import with_memory, wordless
from sclip_seg.picture.finding.finder import AutoWords
from sclip_seg.regions.memory import RegionMemory
from sclip_seg.show.app.session import Session, Wish, silent
from sclip_seg.toy.world import GROUNDS, THINGS, draw

pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")
FIRST = draw(7, 1, 72, 90, count=(3, 4))
SCENE, OTHER = FIRST.image, draw(7, 2, 72, 90, count=(3, 4)).image
POINT = (40, 45)  # (y, x)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One session, so that models are built once; the text bank lies in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("kept"))
        yield Session("cpu")


@pytest.fixture
def page(kept, tmp_path, monkeypatch):
    """The page's handlers, without a server."""
    from sclip_seg.show.app.page import Page, Start

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return Page(kept, Start([], "toy"))


def values_of(page, tmp_path, **given):
    path = tmp_path / "scene.png"
    Image.fromarray(SCENE).save(path)
    fields = {page.picture: path, page.words: "tomato, leaf", page.background: "", page.backbone: "toy"}
    how = {page.opacity: 0.5, page.threshold: 0, page.shown: None, page.first: "sclip", page.second: "nothing"}
    ours = {page.finding.among: "toy_stuff", page.remembering.weight: 0.5, page.remembering.memory: None}
    return {**fields, **how, **ours, page.remembering.name: "my thing"}


def clicked(page, values, point=POINT, picture=SCENE):
    """The values after a run and a click on its first overlay."""
    values = {**values, page.shown: page.run(values, progress=silent)[page.shown]}
    magnified = round(640 / max(picture.shape[:2]))
    at = SimpleNamespace(index=[point[1] * magnified, point[0] * magnified], target=page.overlays[0])
    return {**values, page.shown: page.look_at_overlay(values, at, progress=silent)[page.shown]}


def test_words_are_found_among_a_list(kept):
    found, _ = kept.find_words(SCENE, Wish("", "sand; water", ("sclip",), "toy"), "toy_stuff")
    words = [word.name for word in found.words]
    assert words
    assert {*words} <= {*THINGS, *GROUNDS} - {"sand", "water"}
    how = AutoWords(words="toy_stuff", drop=["sand", "water"])
    assert kept.model("sclip", "toy").find_words([SCENE], how).words == found.words
    for odd in ("/etc/passwd", "wordnet", "toy_stuff+/etc/passwd", ""):
        with pytest.raises(InputError, match="there is no list of words"):
            kept.find_words(SCENE, Wish("", "", ("sclip",), "toy"), odd)


def test_the_words_of_the_page_are_those_that_were_found(page, tmp_path):
    values = values_of(page, tmp_path)
    done = page.finding.find_words(values, progress=silent)
    words = done[page.words].split(", ")
    assert {*words} <= {*THINGS, *GROUNDS}
    assert f"sclip found {words[0]} " in done[page.said]
    assert done[page.said].count("% (sure ") == len(words)
    shown = page.run({**values, page.words: done[page.words]}, progress=silent)[page.shown]
    assert list(shown.found[0].classes) == words
    assert "there is no picture" in page.finding.find_words({**values, page.picture: None}, progress=silent)[page.said]
    for backbone, among in (("openai_vit_b16", "benchmarks"), ("toy", "toy_stuff")):
        assert page.finding.take_list({page.backbone: backbone}) == {page.finding.among: among}


def test_one_computation_at_a_time_and_no_api(page):
    events = {event.fn.__name__: event for event in page.blocks.fns.values() if event.fn}
    assert {event.api_visibility for event in events.values()} == {"private"}
    computing = [name for name, event in events.items() if event.concurrency_id == "computing"]
    assert sorted(computing) == [
        *("change", "find_words", "forget", "look_at_overlay", "look_at_upload", "remember", "run"),
        *("weigh", "write", "write_memory", "write_scores"),
    ]
    assert {events[name].concurrency_limit for name in computing} == {1}


def test_a_region_is_remembered_and_results_are_marked(page, tmp_path):
    values = clicked(page, {**values_of(page, tmp_path), page.second: "clip"})
    plain = values[page.shown]
    assert plain.point == POINT
    done = page.remembering.remember(values, progress=silent)
    kept = done[page.remembering.memory]
    assert [*kept] == [("toy", "sclip"), ("toy", "clip")]
    shown, mask = done[page.shown], region_at(plain.found[0].labels, POINT)
    for one in shown.found:
        assert one.classes == ("tomato", "leaf", "my thing")
        assert one.title == f"{one.method} (few-shot, memory: 1 region of 1 name)"
    mine = shown.found[0].labels == 2
    assert mine[mask].mean() > 0.5
    assert mine[~mask].mean() < 0.1, "one name does not take everything"
    assert "few-shot, memory: 1 region of 1 name" in done[page.legend]
    assert "sclip is few-shot: memory: 1 region of 1 name, weight 0.5." in done[page.said]
    assert "sclip with toy: memory: 1 region of 1 name." in done[page.remembering.told]
    assert done[page.remembering.name] == ""

    # From then on, also in another picture, and to a method that was not there nothing is known.
    other = tmp_path / "other.png"
    Image.fromarray(OTHER).save(other)
    later = {**values, page.remembering.memory: kept, page.picture: other, page.second: "naclip"}
    again = page.run(later, progress=silent)
    assert [one.memory for one in again[page.shown].found] == ["memory: 1 region of 1 name", ""]
    assert again[page.shown].found[1].classes == ("tomato", "leaf", "my thing")
    assert "naclip remembers nothing" in again[page.said]
    later = {**later, page.second: "nothing", page.shown: again[page.shown]}
    lighter = page.remembering.weigh({**later, page.remembering.weight: 0.0}, progress=silent)
    assert lighter[page.shown].wish.weight == 0
    gone = page.remembering.forget(later, progress=silent)
    assert gone[page.remembering.memory] == {}
    assert gone[page.shown].found[0].classes == ("tomato", "leaf")
    assert not gone[page.shown].found[0].memory
    assert not page.run(values, progress=silent)[page.shown].wish.memories, "what one remembers is not another's"


def test_what_is_remembered_is_a_file_for_the_command(page, tmp_path):
    values = clicked(page, values_of(page, tmp_path))
    assert "nothing is remembered yet" in page.remembering.write_memory(values)[page.said]
    done = page.remembering.remember(values, progress=silent)
    values |= {page.remembering.memory: done[page.remembering.memory], page.shown: done[page.shown]}
    said = page.remembering.write_memory(values)
    (path,) = said[page.files]["value"]
    assert Path(path).name == "sclip.memory.safetensors"
    assert "--memory sclip.memory.safetensors" in said[page.said]
    memory = RegionMemory.load(path)
    given = values[page.remembering.memory]["toy", "sclip"]
    assert (memory.names, memory.labels.tolist()) == (given.names, given.labels.tolist())
    np.testing.assert_allclose(memory.keys, given.keys, rtol=0, atol=1e-6)
    assert wordless(path, [["leaf"]]) == ["my thing"]
    settings = with_memory({}, "sclip", WITHOUT_DATASET, "toy", path)  # of the very tail that the command builds
    assert settings["model.stages"][-1]["memory"] == path
    names = [Path(name).name for name in page.write(values)[page.files]["value"]]
    assert names == ["classes.txt", "sclip.few_shot.labels.png", "sclip.few_shot.overlay.png"]
    (scores,) = page.write_scores(values, progress=silent)[page.files]["value"]
    assert Path(scores).name == "sclip.few_shot.npz"
    assert str(np.load(scores)["memory"]) == "memory: 1 region of 1 name"


def test_what_cannot_be_remembered_is_told(page, tmp_path, monkeypatch):
    values = values_of(page, tmp_path)
    part = page.remembering
    assert "press Run again" in part.remember(values, progress=silent)[page.said]
    values[page.shown] = page.run(values, progress=silent)[page.shown]
    assert "click a region of the result first" in part.remember(values, progress=silent)[page.said]
    values = clicked(page, values)
    for name, told in (("", "say what the region is"), ("a, b", "not one name"), ("x" * 999, "at most 80")):
        assert told in part.remember({**values, part.name: name}, progress=silent)[page.said]
    assert part.weigh({**values, page.shown: None}, progress=silent).keys() == {part.told}
    done = part.remember({**values, part.name: HOSTILE.replace(",", "").replace(";", "")[:80]}, progress=silent)
    assert part.memory in done
    for source in (done[part.told], done[page.legend], done[page.said]):
        assert not {tag for tag, _ in Parsed(source).tags} & {"script", "img", "a"}
    monkeypatch.setattr(remember_region, "MOST_REGIONS", 1)
    full = {**values, part.memory: done[part.memory]}
    assert "1 regions are remembered" in part.remember(full, progress=silent)[page.said]


def test_memories_of_few_methods_are_kept(page, tmp_path):
    values = clicked(page, values_of(page, tmp_path))
    filled = {("toy", str(number)): None for number in range(3)}
    values[page.remembering.memory] = {**filled, ("other", "sclip"): None}
    page.remembering._described = lambda kept: ""
    kept = page.remembering.remember(values, progress=silent)[page.remembering.memory]
    assert [*kept] == [("toy", "1"), ("toy", "2"), ("other", "sclip"), ("toy", "sclip")]


@pytest.fixture(scope="module")
def ask(kept, tmp_path_factory):
    """`ask(name, memory=None, **fields)`: the answer of the service about the scene."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from sclip_seg.show.app.rest import routes

    app = FastAPI()
    app.include_router(routes(kept, tmp_path_factory.mktemp("uploads"), "toy"))
    client, stream = TestClient(app), io.BytesIO()
    Image.fromarray(SCENE).save(stream, "png")

    def send(name, /, memory=None, **fields):
        files = {"picture": ("scene.png", stream.getvalue(), "image/png")}
        files |= {"memory": ("own.safetensors", memory)} if memory else {}
        return client.post(f"/api/{name}", data=fields, files=files)

    return send


def test_programs_find_words_and_remember(ask, kept):
    found = ask("words").json()
    assert found["how"].startswith("auto[toy_stuff#")
    expected, _ = kept.find_words(SCENE, Wish("", "", ("sclip",), "toy"), "toy_stuff")
    told = [(word["name"], word["share"], word["certainty"]) for word in found["words"]]
    assert told == [(word.name, word.share, word.certainty) for word in expected.words]
    thing = max(range(len(THINGS)), key=lambda label: (FIRST.stuff == label).sum())
    rows, columns = np.nonzero(FIRST.stuff == thing)
    box = f"{rows.min()}, {columns.min()}, {rows.max() + 1}, {columns.max() + 1}"
    boxed = ask("remember", name="my thing", box=box)
    assert boxed.headers["few-shot"] == "memory: 1 region of 1 name"
    grown = ask("remember", memory=boxed.content, name="leaf", words="tomato, leaf", point="40, 80")
    assert grown.headers["few-shot"] == "memory: 2 regions of 2 names"
    told = ask("classes", memory=grown.content, words="tomato, leaf", weight="0.8").json()
    assert [one["name"] for one in told["classes"]] == ["tomato", "leaf", "my thing"]
    assert told["classes"][2]["share"] == pytest.approx((FIRST.stuff == thing).mean(), rel=0.6)
    assert told["memory"] == "memory: 2 regions of 2 names"
    assert any("weight 0.8" in note for note in told["notes"])
    assert ask("classes", words="tomato, leaf").json()["memory"] is None
    labels = ask("labels", memory=grown.content, words="tomato, leaf")
    assert labels.headers["few-shot"] == told["memory"]
    assert np.asarray(Image.open(io.BytesIO(labels.content))).max() == 2
    assert "few-shot" not in ask("labels", words="tomato").headers
    scores = np.load(io.BytesIO(ask("scores", memory=grown.content, words="tomato, leaf").content))
    assert str(scores["memory"]) == told["memory"]


@pytest.mark.parametrize(
    ("call", "fields", "told"),
    [
        ("words", {"among": "/etc/passwd"}, "no list of words"),
        ("words", {"method": "no"}, "no method"),
        ("remember", {"name": "a"}, "a region is a box"),
        ("remember", {"name": "a", "box": "1,2,3"}, "is not 4 numbers"),
        ("remember", {"name": "a", "box": "1,2,nan,inf"}, "is not 4 numbers"),
        ("remember", {"name": "a", "box": "9,9,3,3"}, "lies outside the picture"),
        ("remember", {"name": "a", "point": "999,9", "words": "leaf"}, "lies outside the picture"),
        ("remember", {"name": "a", "point": "9,9"}, "no words"),
        ("remember", {"name": "a,b", "box": "1,1,30,30"}, "not one name"),
        ("labels", {"words": "leaf", "memory": b"nonsense"}, "own.safetensors cannot be read"),
    ],
)
def test_mistakes_of_programs_are_one_line(ask, call, fields, told):
    answer = ask(call, **fields)
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert len(answer.json()["error"].splitlines()) == 1


def test_a_memory_goes_with_its_method_and_backbone(ask, kept):
    memory = ask("remember", name="my thing", box="0, 0, 72, 45").content
    answer = ask("labels", memory=memory, words="leaf", method="naclip")
    assert (answer.status_code, "gives others" in answer.json()["error"]) == (400, True)
    own = kept.remember(SCENE, np.ones(SCENE.shape[:2], bool), "all", Wish("leaf", "", ("sclip",), "toy"))
    other = replace(own["sclip"], made={**own["sclip"].made, "tower": "another"})
    with pytest.raises(InputError, match="another backbone"):
        kept.run(SCENE, Wish("leaf", "", ("sclip",), "toy", {"sclip": other}))
