"""`sclip-seg prepare verify`: good trees pass, each corruption is named; the overview; the small tree for a trial."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from runs import result_of
from runs import run as evaluate
from trees import BENCHMARKS, ZERO_IGNORED, dataset_settings, make_tree

from sclip_seg.data.digest import digest_of
from sclip_seg.data.prepare import command as tool

ROOT = Path(__file__).parents[2]
VOC = Path("data/VOCdevkit/VOC2012")
MADE = 3


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def voc():
    """VOC21 in miniature; its labels."""
    return make_tree("voc21", Path("data"), MADE)


@pytest.fixture
def named(capsys):
    """`named(name, *arguments)`: what the refused verification prints after `error: `."""

    def run(name, *arguments):
        capsys.readouterr()
        assert tool.main(["verify", name, *arguments]) == 2
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        return printed[printed.index("error: ") :]

    return run


@pytest.mark.parametrize("name", BENCHMARKS)
def test_good_tree(name, capsys):
    labels = make_tree(name, Path("data"))
    assert tool.main(["verify", name, "--any-count"]) == 0
    printed = capsys.readouterr().out
    assert f"{name}: 3 pictures looked at, 3 of them without a fault" in printed
    values = np.concatenate([label.ravel() for label in labels])
    classes = len(np.unique(values[values != 255]))
    assert f"; {classes} of " in printed
    assert f"{100 * np.mean(values == 255):.1f} % of the pixels are ignored" in printed
    assert f"data digest {digest_of(dataset_settings(name, Path('data'))[0])}\n" in printed
    assert Path(f"work_dirs/prepare/{name}.png").is_file()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_wrong_count(name, named):
    count = {"voc2": 1449, "cont": 5104, "coco": 5000, "city": 500, "ade2": 2000}[name[:4]]
    make_tree(name, Path("data"))
    expected = 1000 if name == "coco_stuff10k" else count
    assert f"there are 3 pictures, the benchmark has {expected}" in named(name)
    assert tool.main(["verify", name, "--first", "2"]) == 0


def test_missing_label(voc, named):
    (VOC / "SegmentationClass/2007_000001.png").unlink()
    text = named("voc21", "--any-count")
    assert "1 fault:" in text
    assert "1 picture (2007_000001) of 3 without label" in text


def test_missing_picture(voc, named):
    (VOC / "JPEGImages/2007_000001.jpg").unlink()
    assert "2007_000001" in named("voc21", "--any-count")


def test_truncated_jpeg(voc, named):
    path = VOC / "JPEGImages/2007_000002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    text = named("voc21", "--any-count")
    assert f"the picture {path} cannot be read: image file is truncated" in text


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_empty_file(voc, named, folder):
    (path,) = (VOC / folder).glob("2007_000001.*")
    path.write_bytes(b"")
    assert f"{path} cannot be read: it is empty" in named("voc21", "--any-count")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_label_value_out_of_range(name, named):
    make_tree(name, Path("data"))
    dataset, _ = dataset_settings(name, Path("data"))
    suffix = {"cityscapes": "labelTrainIds.png", "coco_object": ".png"}.get(name, ".png")
    suffix = "_labelTrainIds.png" if name.startswith("coco_stuff") else suffix
    path = sorted(Path(dataset["data_root"], dataset["data_prefix"]["seg_map_path"]).rglob(f"*{suffix}"))[0]
    labels = np.array(Image.open(path))
    labels[:2, :3] = 200
    Image.fromarray(labels).save(path)
    text = named(name, "--any-count")
    assert f"the label map {path} has the value 200 (6 pixels); the classes are {int(name in ZERO_IGNORED)} to" in text
    assert "1 fault:" in text


@pytest.mark.parametrize(("value", "is_fault"), [(20, False), (21, True), (254, True), (255, False)])
def test_range_of_voc(voc, value, is_fault):
    path = VOC / "SegmentationClass/2007_000000.png"
    Image.fromarray(np.full(voc[0].shape, value, np.uint8)).save(path)
    assert tool.main(["verify", "voc21", "--any-count"]) == (2 if is_fault else 0)


def test_wrong_suffix(named):
    make_tree("cityscapes", Path("data"))
    for path in Path("data/cityscapes/gtFine").rglob("*_labelTrainIds.png"):
        path.unlink()
    text = named("cityscapes", "--any-count")
    assert "no label _gtFine_labelTrainIds.png" in text
    assert "_gtFine_labelIds.png" in text


def test_wrong_suffix_of_one(voc, named):
    path = VOC / "SegmentationClass/2007_000001.png"
    path.rename(path.with_suffix(".PNG"))
    assert "2007_000001" in named("voc21", "--any-count")


def test_other_size(voc, named):
    path = VOC / "SegmentationClass/2007_000001.png"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(path)
    assert f"is 53 x 73 (height x width) and its label {path} is 30 x 40" in named("voc21", "--any-count")


def test_a_turned_picture_has_the_size_that_is_seen(voc):
    path = VOC / "JPEGImages/2007_000000.jpg"
    image = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert tool.main(["verify", "voc21", "--any-count"]) == 0


def test_faults_stand_together(voc, named):
    (VOC / "SegmentationClass/2007_000000.png").unlink()
    (VOC / "JPEGImages/2007_000001.jpg").write_bytes(b"\xff\xd8 no picture")
    Image.fromarray(np.full(voc[2].shape, 99, np.uint8)).save(VOC / "SegmentationClass/2007_000002.png")
    text = named("voc21")
    assert "voc21 has 4 faults:" in text
    for part in ("2007_000000", "has 1449", "2007_000001.jpg cannot be read", "2007_000002.png has the value 99"):
        assert part in text


def test_many_faults_are_cut_short(named):
    labels = make_tree("voc21", Path("data"), 23)
    for i, label in enumerate(labels):
        Image.fromarray(np.full(label.shape, 99, np.uint8)).save(VOC / f"SegmentationClass/2007_{i:06d}.png")
    lines = named("voc21", "--any-count").strip().splitlines()
    assert lines[0].endswith("voc21 has 23 faults:")
    assert len(lines) == 1 + 20 + 1
    assert lines[-1].strip() == "and 3 more"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_nothing_there(name, named):
    assert "is missing" in named(name)
    assert not list(Path().iterdir())


def test_unknown_name(named):
    assert "there is no dataset 'voc12'; did you mean voc21" in named("voc12")


def test_overview_shows_labels_over_pictures(voc, capsys):
    assert tool.main(["verify", "voc21", "--any-count", "--overview", "see/here.png"]) == 0
    assert "overview: see/here.png" in capsys.readouterr().out
    sheet = np.array(Image.open("see/here.png")).astype(int)
    # The middle of the first cell: the label's colour over the picture.
    height, width = voc[0].shape
    factor = 200 / max(height, width)
    y, x = height // 2 // 6 * 6 + 3, width // 2 // 6 * 6 + 3  # the middle of one of the label's squares
    label = voc[0][y, x]
    palette = [*DATASETS.get("PascalVOCDataset").METAINFO["palette"], *[[128] * 3] * 235]
    pixel = np.array(Image.open(VOC / "JPEGImages/2007_000000.jpg").convert("RGB"))[y, x]
    seen = sheet[8 + 18 + round(y * factor), 8 + round(x * factor)]
    assert np.abs(seen - (0.6 * np.array(palette[label]) + 0.4 * pixel)).max() <= 12


def test_list(voc, capsys):
    assert tool.main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() >= {*BENCHMARKS}
    assert "3 pictures, not 1449" in lines["voc21"]
    assert "data/cityscapes is missing" in lines["cityscapes"]


@pytest.mark.parametrize("name", ["voc21", "cityscapes"])
def test_small_tree_for_a_trial(name, tiny, capsys):
    make_tree(name, Path("data"))
    if name == "cityscapes":  # has its labels to convert, and they are there
        for path in Path("data").rglob("*_gtFine_labelTrainIds.png"):
            shutil.copy(path, path.with_name(path.name.replace("TrainIds", "Ids")))
    assert tool.main(["convert", name, "--first", "2"]) == 0
    root = dataset_settings(name, Path("data/first_2"))[0]["data_root"]
    assert f"data_root={root}" in capsys.readouterr().out
    assert tool.main(["verify", name, "--data", "data/first_2", "--any-count"]) == 0
    assert "2 pictures looked at" in capsys.readouterr().out
    assert evaluate("sclip.py", "--dataset", name, options=[f"test_dataloader.dataset.data_root={root}"]) == 0
    result = result_of(f"work_dirs/sclip/openai_vit_b16/{name}")
    assert result["images"] == result["images_in_dataset"] == 2
    assert tool.main(["convert", name, "--first", "2"]) == 0, "a second time does nothing"
    path = next(Path(root).rglob("*.png"))
    path.with_name("odd.png").write_bytes(b"")
    assert tool.main(["convert", name, "--first", "2"]) == 2, "a file of another subset"


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_first_is_a_number(value, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["verify", "voc21", "--first", value])
    assert stop.value.code == 2
    assert "--first" in capsys.readouterr().err
