"""Each benchmark in miniature from its download to a score: fetched, unpacked, converted, verified, evaluated."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from odd_server import Site, serve
from PIL import Image
from raw_downloads import ARCHIVES, COUNT, VALUES, detail, make_archives, make_by_hand, png, raw_labels, read_labels
from raw_more import RAW
from runs import result_of
from runs import run as evaluate
from trees import BENCHMARKS, dataset_settings

from sclip_seg.data.prepare import catalogue
from sclip_seg.data.prepare import command as tool
from sclip_seg.data.prepare.convert import convert, plan
from sclip_seg.data.prepare.tables import UNKNOWN, converter_table, load_converter, things, train_ids

BROKEN_AFTER = 4000  # bytes of the server's first answer


@pytest.fixture(scope="module")
def downloads():
    return make_archives()


@pytest.fixture(scope="module")
def all_facts():
    return catalogue.load_facts(catalogue.FOLDER)


@pytest.fixture
def site(downloads, all_facts, tmp_path, monkeypatch):
    """A server with the archives, in the place of the official addresses; and a working folder."""
    monkeypatch.chdir(tmp_path)
    with serve(Site(dict(downloads), breaks_after=BROKEN_AFTER, breaks=1)) as site:
        facts = deepcopy(all_facts)
        for archive in facts["archives"].values():
            archive.update({"url": site.url(Path(archive["url"]).name)} if "url" in archive else {}, gigabytes=[0, 0])
            archive.pop("checksum", None)
        monkeypatch.setattr(catalogue, "load_facts", lambda _: facts)
        monkeypatch.setattr("sclip_seg.data.prepare.transfer.time.sleep", lambda _: None)
        yield site


def label_paths(name, data=Path("data"), folder=None):
    dataset, _ = dataset_settings(name, data)
    root = Path(dataset["data_root"], folder or dataset["data_prefix"]["seg_map_path"])
    suffix = {"cityscapes": "_labelTrainIds.png", "coco_object": "_instanceTrainIds.png"}.get(name, ".png")
    return sorted(root.rglob("*_labelTrainIds.png" if name.startswith("coco_stuff") else f"*{suffix}"))


def prepare(name):
    """From nothing to converted labels."""
    assert tool.main(["download", name]) == 0
    make_by_hand(name, Path("data"))
    assert tool.main(["convert", name]) == 0


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_download_to_score(name, site, tiny, capsys):
    prepare(name)
    printed = capsys.readouterr().out
    assert ("to be fetched by hand" in printed) == (name in ("cityscapes", "context59", "context60"))
    stored = [np.array(Image.open(path)) for path in label_paths(name)]
    assert len(stored) == COUNT
    for index, labels in enumerate(stored):
        assert np.array_equal(labels, read_labels(name, index))
    assert tool.main(["verify", name, "--any-count"]) == 0
    assert f"{COUNT} pictures looked at, {COUNT} of them without a fault" in capsys.readouterr().out
    assert tool.main(["verify", name]) == 2, "two pictures are not the benchmark"
    assert evaluate("sclip.py", "--dataset", name) == 0
    assert result_of(f"work_dirs/sclip/openai_vit_b16/{name}")["images"] == COUNT

    # A second time nothing is fetched, unpacked or converted.
    before = {path: path.stat().st_mtime_ns for path in Path("data").rglob("*") if path.is_file()}
    site.asked.clear()
    assert tool.main(["download", name]) == 0
    assert tool.main(["convert", name]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("data").rglob("*") if path.is_file()} == before
    assert not site.asked


def test_corrected_objects_keep_the_unlabelled_ignored(site, tiny, capsys):
    prepare("coco_object")
    before = [path.read_bytes() for path in label_paths("coco_object")]
    assert tool.main(["convert", "coco_object", "--corrected"]) == 0
    option = "test_dataloader.dataset.data_prefix.seg_map_path=annotations_ignore/val2017"
    assert option in capsys.readouterr().out
    assert [path.read_bytes() for path in label_paths("coco_object")] == before
    raw = [raw_labels("coco_object", index) for index in range(COUNT)]
    assert all((labels == 255).any() for labels in raw)
    for index, path in enumerate(label_paths("coco_object", folder="annotations_ignore/val2017")):
        expected = np.where(raw[index] == 255, 255, read_labels("coco_object", index))
        assert np.array_equal(np.array(Image.open(path)), expected)
    assert tool.main(["verify", "coco_object", "--corrected", "--any-count"]) == 0
    assert "0.0 % of the pixels are ignored" not in capsys.readouterr().out
    assert evaluate("sclip.py", "--dataset", "coco_object", options=[option]) == 0
    assert tool.main(["convert", "voc21", "--corrected"]) == 2


@pytest.mark.parametrize("name", ["coco_object", "context60"])
def test_small_tree(name, site, capsys):
    assert tool.main(["download", name]) == 0
    make_by_hand(name, Path("data"))
    assert tool.main(["convert", name, "--first", "1"]) == 0
    assert tool.main(["verify", name, "--data", "data/first_1", "--any-count"]) == 0
    assert "1 pictures looked at, 1 of them without a fault" in capsys.readouterr().out
    (path,) = label_paths(name, Path("data/first_1"))
    assert np.array_equal(np.array(Image.open(path)), read_labels(name, 0))


def test_what_a_person_must_fetch_is_said(site, capsys):
    assert tool.main(["download", "cityscapes"]) == 0
    printed = capsys.readouterr().out
    assert "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in printed
    assert "a login is needed" in printed
    assert not site.asked
    assert tool.main(["convert", "cityscapes"]) == 2
    assert "data/cityscapes/gtFine/val is missing" in capsys.readouterr().err


def test_context_needs_pycocotools(site, capsys, monkeypatch):
    assert tool.main(["download", "context60"]) == 0
    assert "trainval_merged.json" in capsys.readouterr().out
    assert tool.main(["convert", "context60"]) == 2
    assert "the annotations data/VOCdevkit/VOC2010/trainval_merged.json are missing" in capsys.readouterr().err
    make_by_hand("context60", Path("data"))
    monkeypatch.setattr("sclip_seg.data.prepare.context.importlib.util.find_spec", lambda _: None)
    assert tool.main(["convert", "context60"]) == 2
    assert "needs the package `pycocotools`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            detail({2008000000: np.ones((4, 4), int)}),
            "2008_000000.jpg has the value 1, for which the benchmark has no class",
        ),
        ({"2008_000000.jpg": [[0, 1]]}, "trainval_merged.json cannot be read"),
    ],
)
def test_failing_converter_leaves_nothing(content, message, site, capsys):
    """1 is none of the 60."""
    assert tool.main(["download", "context60"]) == 0
    annotations = Path("data/VOCdevkit/VOC2010/trainval_merged.json")
    annotations.write_text(json.dumps(content))
    assert tool.main(["convert", "context60"]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in annotations.parent.iterdir()} == {
        *("JPEGImages", "Annotations", "trainval_merged.json")
    }


def test_conversion_goes_on_and_is_not_overwritten(site):
    prepare("coco_stuff164k")
    first, second = label_paths("coco_stuff164k")
    good = second.read_bytes()
    first.write_bytes(b"mine")
    second.unlink()
    assert tool.main(["convert", "coco_stuff164k"]) == 0
    assert (first.read_bytes(), second.read_bytes()) == (b"mine", good)
    assert tool.main(["convert", "coco_stuff164k", "--force"]) == 0
    assert np.array_equal(np.array(Image.open(first)), read_labels("coco_stuff164k", 0))


def test_a_killed_conversion_leaves_whole_files(site, monkeypatch):
    assert tool.main(["download", "coco_stuff10k"]) == 0
    monkeypatch.setattr(
        "sclip_seg.data.prepare.convert.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert tool.main(["convert", "coco_stuff10k"]) == 130
    assert not list(Path("data/coco_stuff10k/annotations/test2014").iterdir())


@pytest.mark.parametrize("content", [b"", b"\x89PNG no", png(np.full((4, 4), 11)), png(np.full((4, 4), 200))])
def test_odd_sources_are_named(site, capsys, content):
    assert tool.main(["download", "coco_stuff164k"]) == 0
    path = Path(f"data/coco_stuff164k/annotations/val2017/{1:012d}.png")
    path.write_bytes(content)
    assert tool.main(["convert", "coco_stuff164k"]) == 2
    error = capsys.readouterr().err
    assert f"error: the label map {path}" in error
    assert len(label_paths("coco_stuff164k")) == 1


def test_garbage_instead_of_an_archive(site, capsys):
    good, site.files[ARCHIVES["ade"]] = site.files[ARCHIVES["ade"]], b"<html>moved</html>" * 400
    assert tool.main(["download", "ade20k"]) == 2
    assert "is no zip or tar archive; it begins with b'<html>" in capsys.readouterr().err
    assert not Path("data/ade/ADEChallengeData2016").exists()
    site.files[ARCHIVES["ade"]] = good
    assert tool.main(["download", "ade20k"]) == 0


@pytest.mark.parametrize("name", ["coco_stuff164k", "coco_stuff10k"])
def test_the_table_does_what_the_converter_does(name, tmp_path):
    """Against mmsegmentation's own conversion of a file, value by value."""
    converter = load_converter(name)
    values = [value for value in range(256) if converter_table(name)[value] != UNKNOWN]
    assert len(values) == 172
    source = np.array([values], np.uint8)
    (tmp_path / "val2017").mkdir()
    (tmp_path / "test2014").mkdir()
    if name == "coco_stuff164k":
        Image.fromarray(source).save(tmp_path / "x.png")
        converter.convert_to_trainID(str(tmp_path / "x.png"), str(tmp_path), False)
        (path,) = (tmp_path / "val2017").iterdir()
    else:
        converter.loadmat = lambda _: {"S": source}
        converter.shutil.copyfile(__file__, tmp_path / "x.jpg")
        (tmp_path / "out" / "test2014").mkdir(parents=True)
        converter.convert_to_trainID(("x.jpg", "x.mat"), tmp_path, tmp_path, tmp_path / "out", tmp_path, False)
        (path,) = (tmp_path / "test2014").iterdir()
    assert np.array_equal(converter_table(name)[source], np.array(Image.open(path)))


def test_tables():
    """Each class is reached, by as many values as the benchmark has for it."""
    for keep, ignored in ((False, []), (True, [255])):
        table = things(keep)
        assert sorted({*table.tolist()}) == [*range(81), *ignored]
        assert np.bincount(table[:182])[1:].tolist() == [1] * 80
    assert things(False)[[0, 10, 11, 12, 89, 90, 91, 182, 255]].tolist() == [1, 11, 0, 12, 80, 0, 0, 0, 0]
    # Raw label v of COCO-Stuff's things is class v of the 171; the order of the things is the same in both.
    stuff = converter_table("coco_stuff164k")
    both = [(stuff[v] + 1, things(False)[v]) for v in range(91) if stuff[v] != UNKNOWN and stuff[v] < 80]
    assert len(both) == 80
    assert all(a == b for a, b in both)
    assert sorted({*train_ids().tolist()}) == [UNKNOWN, *range(19), 255]
    assert (train_ids()[34:] == UNKNOWN).all()


def test_plan_counts_pictures_not_files(site):
    assert tool.main(["download", "coco_stuff10k"]) == 0
    rule = catalogue.load_catalogue()["coco_stuff10k"].convert
    targets = [job.target.name for job in plan(rule, Path("data"), first=1)]
    assert targets == [f"COCO_train2014_{0:012d}_labelTrainIds.png", f"COCO_train2014_{0:012d}.jpg"]
    assert convert(rule, Path("data")).endswith("4 files written, 0 were there")


def test_the_catalogue_knows_every_benchmark():
    known = catalogue.load_catalogue()
    assert known.keys() == {*BENCHMARKS, *RAW}
    assert {*BENCHMARKS} == VALUES.keys()
    for name, benchmark in known.items():
        assert benchmark.archives or benchmark.by_hand
        assert benchmark.terms
        files = RAW[name].archives if name in RAW else ARCHIVES.values()
        for archive in benchmark.archives:
            assert archive.within or archive.url.startswith("http")
            assert archive.within or archive.file in files
            assert name in RAW or min(archive.gigabytes) > 0
