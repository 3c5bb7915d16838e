"""Result files of others: nothing in them runs, leads to pictures that were not meant, or stops a report."""

import copy
import json
import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from browser import Page, without_own_script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_results import HOSTILE, make_result, rows_of, run, write
from mmseg.datasets import ADE20KDataset
from PIL import Image

from sclip_seg.evaluate.report import gather, writing
from sclip_seg.evaluate.report.places import Allowed, places
from sclip_seg.evaluate.report.protocol import OwnProtocols

HALF = "\ud800"
DOTTED = "planted.run"  # what mmengine's registries would import and call
LONG = 10**400
OWN, FIGURES = cache(OwnProtocols()._load), cache(writing.load)
DEEP = json.loads("[" * 200 + "]" * 200)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Published figures and each method's own config are loaded once for many reports."""
    monkeypatch.setattr(OwnProtocols, "_load", lambda _, *cell: OWN(*cell))
    monkeypatch.setattr(writing, "load", FIGURES)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module that leaves a file when it is imported or called."""
    folder, traces = tmp_path / "planted", tmp_path / "traces"
    folder.mkdir()
    leave = f"open({str(traces)!r}, 'a').write('ran')"
    (folder / "planted.py").write_text(f"{leave}\ndef run(*_, **__):\n    {leave}\n")
    monkeypatch.syspath_prepend(str(folder))
    yield traces
    assert not traces.exists(), "what stood in a result file was run"
    assert "planted" not in sys.modules


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """`shown(*arguments, **changes)` makes the report of a result with a picture; gives the images of its page."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    scene(here / "data/toy", "a")
    labels = np.zeros((20, 30), np.uint8)

    def show(*arguments, config=None, **changes):
        result = make_result(dataset="toy", backbone="toy", classes={"background": 1.0, HOSTILE: 2.0}, **changes)
        dataset = result["config"]["test_dataloader"]["dataset"]
        result["config"]["custom_hooks"] = [{"type": "Progress"}, {"type": "SaveLabels", "folder": "work/labels"}]
        (config or (lambda *_: None))(dataset, result["config"])
        write(here / "work", result)
        Path("work/labels").mkdir(exist_ok=True)
        Image.fromarray(labels).save("work/labels/a.png")
        assert run("work", "--labels", *arguments, "--out", "out") == 0
        return [attrs["alt"] for tag, attrs in Page(Path("out/report.html").read_text()).tags if tag == "img"]

    return show


def scene(root, name):
    """A picture and its label in the toy world's folders."""
    for folder, values in (("images/val", (20, 30, 3)), ("labels/val", (20, 30))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ones(values, np.uint8)).save(root / folder / f"{name}.png")


def test_pictures_of_the_datasets_own_folders_are_shown(shown):
    assert shown() == ["picture of a", "label of a", "sclip, toy of a"]


def test_chosen_classes_have_their_own_numbers_and_colours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = make_result(dataset="ade20k", classes={"sky": 1.0, "wall": 2.0})
    dataset = result["config"]["test_dataloader"]["dataset"]
    for folder in dataset["data_prefix"].values():
        Path(dataset["data_root"], folder).mkdir(parents=True)
    data = places(gather.read(write(Path("work"), result)), Allowed())
    known = ADE20KDataset.METAINFO
    assert list(data.palette) == [known["palette"][2], known["palette"][0]]
    Image.fromarray(np.array([[0, 1, 2, 3, 255]], np.uint8)).save("labels.png")
    assert data.labels_in(Path("labels.png")).tolist() == [[255, 1, 255, 0, 255]]


@pytest.mark.parametrize(
    "kind", [DOTTED, "torch.hub.load", "builtins.exec", "Compose", "ConcatDataset", None, 3, ["a"]]
)
def test_a_type_that_is_no_dataset_of_ours_is_never_built(shown, planted, capsys, kind):
    assert shown(config=lambda dataset, _: dataset.update(type=kind)) == []
    assert "its pictures cannot be shown" in capsys.readouterr().err


def test_nothing_else_that_names_a_type_is_built(shown, planted):
    def plant(dataset, config):
        dataset["pipeline"] = dataset["metainfo"] = dataset["vocabulary"] = {"type": DOTTED}
        dataset["_scope_"] = "planted"
        config["custom_imports"] = {"imports": ["planted"]}
        config["default_hooks"] = config["test_evaluator"] = {"type": DOTTED}
        config["custom_hooks"].append({"type": DOTTED})
        config["model"]["type"] = DOTTED
        config["model"]["backbone"] = {"type": DOTTED}

    assert shown(config=plant)


@pytest.mark.parametrize(
    "change",
    [
        {"data_root": "{elsewhere}"},
        {"data_root": "../elsewhere"},
        {"data_root": "data/../../elsewhere"},
        {"data_root": "link"},
        {"pictures": "{elsewhere}/images/val"},
        {"labels": "{elsewhere}/labels/val"},
        {"label_suffix": "/../../../../../../elsewhere/labels/val/a.png"},
        {"picture_suffix": ["/../../../../../../elsewhere/images/val/a.png"]},
        {"data_root": "a\0b"},
        {"data_root": "x" * 5000},
        {"data_root": "http://127.0.0.1:9/data"},
        {"data_root": HALF},
        {"data_root": 7, "pictures": None, "labels": {"a": 1}},
    ],
    ids=str,
)
def test_pictures_of_elsewhere_are_not_shown(shown, tmp_path, capsys, change):
    """Neither by an absolute path, nor by one that climbs, nor through a link that came with the result."""
    scene(tmp_path / "elsewhere", "a")
    Path("link").symlink_to(tmp_path / "elsewhere")
    change = {k: v.format(elsewhere=tmp_path / "elsewhere") if isinstance(v, str) else v for k, v in change.items()}
    assert shown(config=lambda dataset, _: dataset.update(change)) == []
    assert "warning: toy" in capsys.readouterr().err


def test_a_link_to_one_picture_of_elsewhere_is_not_followed(shown, tmp_path):
    scene(tmp_path / "elsewhere", "a")
    scene(Path("theirs"), "a")
    assert shown(config=lambda dataset, _: dataset.update(data_root="theirs"))
    Path("theirs/images/val/a.png").unlink()
    Path("theirs/images/val/a.png").symlink_to(tmp_path / "elsewhere/images/val/a.png")
    assert not shown(config=lambda dataset, _: dataset.update(data_root="theirs"))


def test_the_user_names_data_of_elsewhere(shown, tmp_path, capsys):
    def elsewhere(dataset, _):
        dataset["data_root"] = str(tmp_path / "elsewhere")

    scene(tmp_path / "elsewhere", "a")
    assert not shown(config=elsewhere)
    assert "--data" in capsys.readouterr().err
    assert shown("--data", tmp_path / "elsewhere", config=elsewhere)
    (tmp_path / "here/data/linked").symlink_to(tmp_path / "elsewhere")  # as large data usually is
    assert shown(config=lambda dataset, _: dataset.update(data_root="data/linked"))


def test_no_other_file_is_read_for_the_page(shown, tmp_path):
    """A list file or a vocabulary of a result may be any file of this machine; its lines are nobody's business."""
    secret = tmp_path / "here/data/secret.txt"
    secret.write_text("a\nhush\n")

    def point(dataset, _):
        dataset.update(vocabulary=str(secret), ann_file=str(secret))

    assert shown(config=point)
    source = Path("out/report.html").read_text()
    assert "hush" not in source
    assert "<script>alert" not in source


def test_label_maps_of_elsewhere_are_not_looked_for(shown, tmp_path, capsys):
    os.makedirs(tmp_path / "elsewhere")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "elsewhere/a.png")

    def elsewhere(_, config):
        config["custom_hooks"][1]["folder"] = str(tmp_path / "elsewhere")

    Path("work/labels").mkdir(parents=True)
    assert shown(config=elsewhere)  # those beside the result
    for folder in ("a\0b", "y" * 300, "/", 3, HALF):
        assert shown(config=lambda _, config, folder=folder: config["custom_hooks"][1].update(folder=folder))
    assert shown(tmp_path / "elsewhere", config=elsewhere)  # the user named it


def odd_files(folder):
    """Things called result.json, each in a folder of its own; how many there are."""
    places = [folder / f"odd{index}" for index in range(9)]
    for place in places:
        place.mkdir(parents=True)
    (places[0] / "result.json").mkdir()
    (places[1] / "result.json").symlink_to("result.json")
    (places[2] / "result.json").symlink_to(places[3] / "result.json")
    (places[3] / "result.json").symlink_to(places[2] / "result.json")
    os.mkfifo(places[4] / "result.json")
    with (places[5] / "result.json").open("wb") as file:
        file.truncate(gather.LARGEST + 1)
    (places[6] / "result.json").symlink_to("/dev/zero")
    (places[7] / "result.json").write_bytes(bytes(range(256)))
    (places[8] / "result.json").symlink_to("nowhere")
    (places[8] / "circle").symlink_to(folder)
    return len(places) - 1  # the two that point at each other are warned of once or twice, by the system


def test_odd_things_called_result_json_are_named(tmp_path, capsys):
    write(tmp_path / "work/good", make_result())
    count = odd_files(tmp_path / "work")
    strange = Path(os.fsdecode(bytes(tmp_path / "work") + b"/caf\xe9"))  # no UTF-8
    write(strange, make_result("clip"))
    assert run(tmp_path / "work", "--out", tmp_path / "out") == 0
    assert capsys.readouterr().err.count("left out") >= count
    cells = rows_of((tmp_path / "out/cells.csv").read_text())
    assert {cell["method"] for cell in cells} == {"sclip", "clip"}


ODD = st.one_of(
    st.sampled_from([None, True, LONG, -LONG, float("nan"), float("inf"), 1e300, HALF, HOSTILE, "a\0b", "x" * 3000]),
    st.sampled_from([[], {}, DEEP, DOTTED, {"type": DOTTED}, [HALF], {HALF: HALF}, "../../x", "/", "\n", "|:|"]),
    st.integers(),
    st.text(max_size=5),
)


def leaves(data, path=()):
    """The places of everything in a nested dict or list."""
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from leaves(part, (*path, key))


WHOLE = make_result(dataset="toy", backbone="toy")
PLACES = list(leaves(WHOLE))


@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_anywhere_in_a_file_stops_the_report(planted, tmp_path, changes):
    data = copy.deepcopy(WHOLE)
    for path, value in changes:
        place = data
        for key in path[:-1]:
            place = place[key] if isinstance(place, dict | list) and _has(place, key) else {}
        if isinstance(place, dict | list) and _has(place, path[-1]):
            place[path[-1]] = value
    write(tmp_path / "work/bad", data)
    write(tmp_path / "work/good", make_result("clip"))
    assert run(tmp_path / "work", "--labels", "--out", tmp_path / "out") == 0
    assert "clip" in {cell["method"] for cell in rows_of((tmp_path / "out/cells.csv").read_text())}
    tags = {tag for tag, _ in Page(without_own_script((tmp_path / "out/report.html").read_text())).tags}
    assert not tags & {"script", "img", "iframe", "object", "link"}


def _has(place, key):
    return key in place if isinstance(place, dict) else isinstance(key, int) and key < len(place)


def test_a_signature_of_many_bars_takes_no_time(tmp_path):
    many = "a:1" + "|" * 3_000_000
    assert gather.parse_signature(many) == {"a": many[2:]}
