"""`sclip-seg test` from its arguments to result.json, on made trees in their real layout and a tiny tower."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from PIL import Image
from runs import CONFIGS, FAST, miou, result_of, run, tool
from trees import BENCHMARKS, ZERO_IGNORED, dataset_settings, make_tree

from sclip_seg.evaluate import listing
from sclip_seg.picture.segmentor import OpenVocabSegmentor

# What design.md asks of a result file.
FIELDS = {
    *("method", "dataset", "miou", "foreground_miou", "aacc", "macc", "images", "images_in_dataset", "partial"),
    *("signature", "backbone", "vocabulary", "templates", "precision", "device", "processes", "seconds_per_image"),
    *("warnings", "per_class", "versions", "commit", "config_digest", "config"),
}


@pytest.fixture
def data(tmp_path, monkeypatch, tiny):
    """The folder that stands for `data/`, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def answer(monkeypatch):
    """`answer(labels)` makes the segmentor predict these label maps, one a picture."""

    def replace(labels):
        remaining = iter(labels)

        def predict(self, inputs, data_samples):
            for sample in data_samples:
                sample.set_data({"pred_sem_seg": PixelData(data=torch.from_numpy(next(remaining)).long()[None])})
            return data_samples

        monkeypatch.setattr(OpenVocabSegmentor, "predict", predict)

    return replace


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_end_to_end(name, data, capsys):
    labels = make_tree(name, data)
    assert run("sclip.py", "--dataset", name, "--out", "maps") == 0
    result = result_of(f"work_dirs/sclip/openai_vit_b16/{name}")
    assert result.keys() >= FIELDS
    assert (result["method"], result["dataset"]) == ("sclip", name)
    assert result["backbone"]["arch"] == "tiny"
    assert result["images"] == result["images_in_dataset"] == 3
    assert result["partial"] is False
    assert list(result["per_class"]) == list(DATASETS.get(result["config"]["dataset"]["type"]).METAINFO["classes"])
    assert result["signature"].startswith("method:sclip|tail:LastBlock(attention=csa")
    printed = capsys.readouterr().out
    assert result["signature"] in printed
    assert f"mIoU {result['miou']:.2f}" in printed
    assert all(f"| {name}" in printed for name in result["per_class"])

    # The maps hold the values of the label files, and the score is that of the maps.
    written = sorted(Path("maps").rglob("*.png"))
    pictures = dataset_settings(name, data)[0]
    folder = Path(pictures["data_root"], pictures["data_prefix"]["img_path"])
    there = [path.relative_to(folder) for path in folder.rglob("*.*") if path.stem != "unlisted"]
    assert [path.relative_to("maps") for path in written] == sorted(path.with_suffix(".png") for path in there)
    stored = [np.array(Image.open(path)) for path in written]
    assert [m.shape for m in stored] == [label.shape for label in labels]
    assert all(m.dtype == np.uint8 for m in stored)
    if name in ZERO_IGNORED:
        assert min(m.min() for m in stored) >= 1
        stored = [m - 1 for m in stored]
    assert result["miou"] == pytest.approx(miou(stored, labels), abs=1e-9)


@pytest.mark.parametrize("method", ["sclip", "naclip", "clearclip", "maskclip"])
def test_written_config_replays_to_the_same_score(method, data):
    make_tree("voc21", data)
    assert run(f"{method}.py", "--dataset", "voc21", "--work-dir", "first") == 0
    first = result_of("first")
    assert tool.main(["first/config.py", "--work-dir", "again"]) == 0
    again = result_of("again")
    for key in ("miou", "per_class", "signature", "config_digest"):
        assert again[key] == first[key], key


@pytest.mark.parametrize("name", BENCHMARKS)
def test_oracle_scores_100(name, data, answer):
    labels = make_tree(name, data)
    random = np.random.default_rng(0)
    answer([np.where(label == 255, random.integers(0, 19, label.shape), label) for label in labels])
    assert run("sclip.py", "--dataset", name) == 0
    result = result_of(f"work_dirs/sclip/openai_vit_b16/{name}")
    assert result["miou"] == result["aacc"] == result["macc"] == 100
    assert result["foreground_miou"] == 100


@pytest.mark.parametrize("name", BENCHMARKS)
def test_known_mistake(name, data, answer):
    """Class 0 taken for class 1: IoU_0 = 0, IoU_1 = n1 / (n0 + n1), all others 100."""
    labels = make_tree(name, data)
    answer([np.where((label == 0) | (label == 255), 1, label) for label in labels])
    assert run("sclip.py", "--dataset", name) == 0
    result = result_of(f"work_dirs/sclip/openai_vit_b16/{name}")
    pixels = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    classes = len(result["per_class"])
    ious = [0, 100 * pixels[1] / (pixels[0] + pixels[1])] + [100] * (classes - 2)
    assert [row["iou"] for row in result["per_class"].values()] == pytest.approx(ious)
    assert result["miou"] == pytest.approx(sum(ious) / classes)
    assert result["aacc"] == pytest.approx(100 * (1 - pixels[0] / pixels[:255].sum()))


def test_first_pictures_only(data):
    labels = make_tree("voc21", data)
    assert run("sclip.py", "--limit", "2", "--out", "maps") == 0
    result = result_of("work_dirs/sclip/openai_vit_b16/voc21")
    assert (result["images"], result["images_in_dataset"], result["partial"]) == (2, 3, True)
    assert "data:voc21[2/3]" in result["signature"]
    maps = [np.array(Image.open(path)) for path in sorted(Path("maps").iterdir())]
    assert result["miou"] == pytest.approx(miou(maps, labels[:2]))
    assert result["per_class"]["aeroplane"]["iou"] is not None


def test_limit_beyond_the_dataset_is_not_partial(data):
    make_tree("voc21", data)
    assert run("sclip.py", "--limit", "9") == 0
    result = result_of("work_dirs/sclip/openai_vit_b16/voc21")
    assert (result["images"], result["partial"]) == (3, False)
    assert "data:voc21[3]" in result["signature"]


def test_a_method_by_its_name_and_by_its_file(data):
    make_tree("voc21", data)
    assert run("sclip.py", "--work-dir", "file") == 0
    assert tool.main(["sclip", "--work-dir", "name", "--cfg-options", *FAST, "experiment_name=name"]) == 0
    file, name = result_of("file"), result_of("name")
    for key in ("method", "miou", "per_class", "signature", "config_digest"):
        assert name[key] == file[key], key


def test_list_of_a_folder(tmp_path, capsys):
    (tmp_path / "mine.py").touch()
    (tmp_path / "_part.py").touch()
    assert listing.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "method mine\n"
    assert tool.main([str(tmp_path / "mine.py"), "--list"]) == 0
    assert capsys.readouterr().out == "method mine\n"
    assert listing.main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"error: there are no configs in {tmp_path / 'none'}\n"


def test_list(capsys):
    assert tool.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert listing.main([]) == tool.main(["sclip", "--list"]) == 0
    assert capsys.readouterr().out == 2 * printed
    lines = printed.splitlines()
    assert {"method sclip", "dataset voc21", "backbone openai_vit_b16"} <= {
        " ".join(line.split()[:2]) for line in lines
    }
    for axis, folder in (("method", "."), ("dataset", "_base_/datasets"), ("backbone", "_base_/backbones")):
        files = {path.stem for path in (CONFIGS / folder).glob("[!_]*.py")}
        assert {line.split()[1] for line in lines if line.split()[0] == axis} == files


def test_drawing_changes_no_score(data):
    (label, *_) = make_tree("voc21", data)
    assert run("naclip.py", "--work-dir", "plain") == 0
    assert run("naclip.py", "--work-dir", "drawn", "--show-dir", "drawings", "--out", "maps") == 0
    plain, drawn = result_of("plain"), result_of("drawn")
    for key in ("miou", "aacc", "macc", "per_class", "signature", "config_digest"):
        assert drawn[key] == plain[key], key
    assert len(list(Path("drawings").iterdir())) == 3

    # Picture, prediction and label in a row, each `height` x `width` below its title.
    height, width = label.shape
    drawing = np.array(Image.open("drawings/2007_000000.png")).astype(int)
    palette = np.array(DATASETS.get("PascalVOCDataset").METAINFO["palette"] + [[128] * 3] * 235)
    picture = np.array(Image.open(data / "VOCdevkit/VOC2012/JPEGImages/2007_000000.jpg")).astype(int)
    prediction = np.array(Image.open("maps/2007_000000.png"))
    expected = [picture, *(0.6 * palette[m] + 0.4 * picture for m in (prediction, label))]
    left = 8
    for panel in expected:
        part = drawing[18 : 18 + height, left : left + width]
        assert np.abs(part - panel).max() <= 3  # cv2's and pillow's JPEG decoders differ in the last bits
        left += max(width, 96) + 8
    assert drawing[18 + height + 8 :].std() > 0  # a legend


def test_work_dir_holds_what_belongs_to_the_result(data):
    make_tree("voc21", data)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    assert run("clip.py", "--work-dir", "mine") == 0
    names = {path.name for path in Path("mine").iterdir()}
    assert {"config.py", "result.json", "notes.txt"} <= names
    assert not Path("work_dirs").exists()
    assert not list(Path("mine").rglob("*.tmp"))
    assert "{{" not in Path("mine/config.py").read_text()


def test_crash_leaves_the_older_result(data, monkeypatch):
    make_tree("voc21", data)
    assert run("sclip.py", "--work-dir", "mine") == 0
    before = Path("mine/result.json").read_bytes()
    monkeypatch.setattr(OpenVocabSegmentor, "predict", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("sclip.py", "--work-dir", "mine")
    assert Path("mine/result.json").read_bytes() == before
    with pytest.raises(ZeroDivisionError):
        run("sclip.py", "--work-dir", "other")
    assert not Path("other/result.json").exists()
