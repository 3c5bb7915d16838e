"""`sclip-seg label` from its arguments to its files: what is written, gone on with, and shared."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sclip_seg
from sclip_seg.errors import InputError
from sclip_seg.label import command, run
from sclip_seg.label.sources import sources
from sclip_seg.toy.world import draw

CLASSES = "tomato, leaf, lemon"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Six pictures: two of one name, grey, deep and with alpha, one of an odd name."""
    monkeypatch.chdir(tmp_path)
    scene = draw(1, 4, 40, 48, count=(3, 4)).image
    for folder in ("in/a", "in/b"):
        Path(folder).mkdir(parents=True)
        Image.fromarray(scene).save(f"{folder}/dog.png")
    Image.fromarray(scene[..., 0]).save("in/grey.png")
    Image.fromarray(scene[..., 0].astype(np.uint16) * 257).save("in/deep.png")
    Image.fromarray(np.dstack([scene, scene[..., 0]])).save("in/alpha.png")
    Image.fromarray(scene).save("in/a/é 100%; x.jpg")
    return Path("in")


def label(*arguments, out="out", form="png"):
    words = ("--backbone", "toy", "--device", "cpu", "--classes", CLASSES)
    return command.main([*map(str, arguments), *words, "--format", form, "--out", out])


def content(folder="out"):
    files = {p.relative_to(folder).as_posix(): p for p in Path(folder).rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in files.items() if not name.startswith("progress")}


def test_labels_are_what_load_predicts(photos):
    assert label(photos) == 0
    seg = sclip_seg.load("sclip", "toy", device="cpu")
    names = {name.removeprefix("labels/") for name in content()} - {"dataset.json"}
    assert names == {f"{name}.png" for name in ("a/dog", "b/dog", "grey", "deep", "alpha", "a/é 100%; x")}
    for path in photos.rglob("*.*g"):
        stored = np.asarray(Image.open(Path("out/labels", path.relative_to(photos).with_suffix(".png"))))
        np.testing.assert_array_equal(stored, seg(path, CLASSES).labels)
    told = json.loads(Path("out/dataset.json").read_text())
    assert told["classes"] == CLASSES.split(", ")
    assert told["signature"].startswith("method:sclip|")
    assert (told["ignore"], told["pictures"], told["unread"]) == (255, 6, 0)
    assert "no instance" in told["note"]


@pytest.mark.parametrize("form", ["png", "labelstudio"])
def test_killed_and_gone_on(photos, monkeypatch, form):
    assert label(photos, form=form, out="whole") == 0
    write, done = run.Share.write, []

    def dies(self, source, prediction):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(source.name)
        write(self, source, prediction)

    monkeypatch.setattr(run.Share, "write", dies)
    assert label(photos, form=form) == 130
    assert "dataset.json" not in content()
    with Path("out/progress/rank0.jsonl").open("ab") as journal:
        journal.write(b'12345678 {"name": "cut of')
    monkeypatch.setattr(run.Share, "write", lambda self, *rest: (done.append(rest[0].name), write(self, *rest)))
    assert label(photos, form=form) == 0
    assert len(done) == len({*done}) == 6
    assert content() == content("whole")
    assert label(photos, form=form) == 0
    assert len(done) == 6


def test_two_processes_share(photos, monkeypatch):
    assert label(photos, form="labelstudio", out="whole") == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        assert "dataset.json" not in content()
        monkeypatch.setenv("RANK", rank)
        assert label(photos, form="labelstudio") == 0
    assert content() == content("whole")
    names = [p.read_text().count('"name"') for p in Path("out/progress").glob("rank*.jsonl")]
    assert names == [3, 3]


def test_mistakes_are_told(photos, capsys):
    assert label("nowhere") == label(photos, out="in/b") == label(photos, "--polygons") == 2
    Path("in/broken.png").write_bytes(b"no")
    assert label(photos) == 2
    assert json.loads(Path("out/dataset.json").read_text())["unread"] == 1
    assert label(photos, "--unsure", "0.5") == 2
    told = capsys.readouterr().err
    for words in ("nowhere", "lies in what", "--polygons goes", "broken.png", "other settings"):
        assert words in told


def member(shard, name, data=b"", **others):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in others.items():
        setattr(info, key, value)
    shard.addfile(info, io.BytesIO(data))


def test_members_of_shards_stay_within(photos, tmp_path):
    good = Path("in/grey.png").read_bytes()
    with tarfile.open("s.tar", "w") as shard:
        member(shard, "000/x.png", good)
        member(shard, "000/x.json", b"{}")
        for name in ("/absolute.png", "../up.png", "a/../../up.png"):
            member(shard, name, good)
        member(shard, "link.png", type=tarfile.SYMTYPE, linkname="in/grey.png")
        member(shard, "pipe.png", type=tarfile.FIFOTYPE)
    before = {*tmp_path.rglob("*")}
    found = list(sources(["s.tar"]))
    assert found[0].name == "s/000/x"
    assert found[0].read().shape == (40, 48, 3)
    assert len(found) == 6
    for source in found[1:]:
        assert ".." not in source.name.split("/")
        with pytest.raises(InputError, match=r"leads out|a link or a device"):
            source.read()
    assert {*tmp_path.rglob("*")} == before


def test_lists_patterns_and_names(photos):
    Path("list.txt").write_text("in/grey.png\n# none\nin/a/dog.png\n")
    assert [source.name for source in sources(["list.txt"])] == ["grey", "a/dog"]
    assert [source.name for source in sources(["in/*/dog.png"])] == ["a/dog", "b/dog"]
    assert [source.name for source in sources(["in/a/dog.png", "in/b/dog.png"])] == ["dog", "dog.png"]
    assert len(list(sources(["in", "in/a"]))) == 6


def test_frames_of_a_video(photos):
    av = pytest.importorskip("av", reason="videos need PyAV: pip install .[label]")
    with av.open("film.mkv", "w") as film:
        stream = film.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "bgr0"
        for value in (0, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((40, 48, 3), value, np.uint8), format="rgb24")
            film.mux(stream.encode(frame.reformat(format="bgr0")))
        film.mux(stream.encode())
    frames = list(sources(["film.mkv"]))
    assert [frame.name for frame in frames] == ["film/000000", "film/000001", "film/000002"]
    assert [int(frame.read()[0, 0, 0]) for frame in frames] == [0, 100, 200]


def test_masks_and_detections(photos):
    found = sclip_seg.load("sclip", "toy", device="cpu")("in/a/dog.png", CLASSES)
    masks = found.masks()
    assert {entry["label"] for entry in masks} == {*found.shares}
    for entry in masks:
        inside = found.labels == found.classes.index(entry["label"])
        np.testing.assert_array_equal(np.asarray(entry["mask"]) == 255, inside)
        assert entry["score"] == pytest.approx(found.scores[found.classes.index(entry["label"])][inside].mean())
    try:
        import supervision
    except ImportError:
        with pytest.raises(InputError, match="pip install supervision"):
            found.detections()
    else:
        detections = found.detections()
        assert isinstance(detections, supervision.Detections)
        assert detections.area.sum() == found.labels.size


def test_words_that_are_found_stay_when_it_goes_on(photos):
    toy = ("--backbone", "toy", "--device", "cpu", "--format", "png", "--out", "out")
    found = [str(photos / "a"), str(photos / "grey.png"), *toy, "--classes", "auto", "--drop", "plum"]
    assert command.main(found) == 0
    told = json.loads(Path("out/dataset.json").read_text())
    assert told["classes"] == [word["name"] for word in told["found"]["words"]]
    assert told["found"]["how"].startswith("auto[benchmarks-1#")
    before, kept = content(), Path("out/progress/words.json")
    stamp = kept.stat().st_mtime_ns
    assert command.main(found) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert content() == before


def test_two_processes_at_once(photos):
    """As torchrun starts them: the one that is last writes the whole, and nothing is done twice."""
    assert label(photos, form="labelstudio", out="whole") == 0
    children = []
    for rank in "01":
        child = os.fork()
        if not child:
            os.environ.update(WORLD_SIZE="2", RANK=rank)
            os._exit(label(photos, form="labelstudio"))
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert content() == content("whole")
    names = [p.read_text().count('"name"') for p in Path("out/progress").glob("rank*.jsonl")]
    assert names == [3, 3]
