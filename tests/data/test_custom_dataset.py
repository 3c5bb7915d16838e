"""A dataset of one's own by config alone, as docs/add/dataset.md shows it, with every method."""

import re
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from runs import CONFIGS, ROOT, miou, result_of, run
from tiny_cells import tiny_guide_options

from sclip_seg.config import choices

PAGE = ROOT / "docs" / "add" / "dataset.md"
METHODS = choices(CONFIGS)["method"]
WITH_GUIDES = ("proxyclip", "trident", "fsa", "gla_clip", "lposs", "lposs_plus", "cass", "corrclip", "corrclip_v2")
WITH_GUIDES += ("zsseg", "scan", "radseg_plus")  # regions are second models too, and SAM's decoders
CLASSES = 4
SIZE = (45, 60)


def shown_file():
    """The dataset file of the page, as text."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("# configs/_base_/datasets/garden.py\n")]
    return text


def make_garden(root, count=3):
    """Pictures with both suffixes and labels of vertical stripes, 255 at the left; returns the labels."""
    random = np.random.default_rng(0)
    labels = []
    for folder in ("pictures", "labels"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        height, width = SIZE[0] + index, SIZE[1] - 3 * index
        label = np.broadcast_to(np.arange(width) // 5 % CLASSES, (height, width)).astype(np.uint8).copy()
        label[:, :2] = 255
        picture = cv2.resize(random.integers(0, 256, (4, 5, 3)).astype(np.uint8), (width, height))
        Image.fromarray(picture).save(root / "pictures" / f"plot{index}{('.jpg', '.png')[index % 2]}")
        Image.fromarray(label).save(root / "labels" / f"plot{index}.png")
        labels.append(label)
    return labels


@pytest.fixture
def garden(tmp_path, monkeypatch, tiny):
    """`garden(text)` writes the dataset file into a copy of configs/ and returns the copy's folder."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "configs"
    shutil.copytree(CONFIGS, copy)

    def write(text):
        (copy / "_base_" / "datasets" / "garden.py").write_text(text)
        return copy

    return write


# What lets a method run with the tiny tower of four blocks, and without second models of full size.
SMALL = {
    **{name: lambda: ["model.backbone.tail.tower=12"] for name in ("clip_surgery", "gem", "resclip", "sfp")},
    **{name: partial(tiny_guide_options, name) for name in WITH_GUIDES},
}


def check(configs, method, labels):
    """Runs a method on the garden, and counts its score again from the maps it writes."""
    options = ("--dataset", "garden", "--work-dir", f"runs/{method}", "--out", f"maps/{method}")
    small = SMALL[method]() if method in SMALL else []
    assert run(configs / f"{method}.py", *options, options=small) == 0
    result = result_of(f"runs/{method}")
    assert (result["method"], result["dataset"], result["images"]) == (method, "garden", len(labels))
    maps = [np.array(Image.open(path)) for path in sorted(Path("maps", method).iterdir())]
    if method != "cliptrase":  # counts a square of each picture
        assert result["miou"] == pytest.approx(miou(maps, labels))
    return result


@pytest.mark.parametrize("method", METHODS)
def test_file_of_the_page_works_with(method, garden):
    configs = garden(shown_file())
    labels = make_garden(Path("data/garden"))
    result = check(configs, method, labels)
    assert list(result["per_class"]) == ["background", "rose", "lawn", "oak tree"]
    assert result["vocabulary"]["queries"] == 8
    own = ("cliptrase_windows", "zsseg", "scan")  # votes, and scores of regions, have none
    threshold = "0" if method in own else "0.2"
    assert f"|background:0<{threshold}|" in result["signature"]
    foreground = [row["iou"] for name, row in result["per_class"].items() if name != "background"]
    assert result["foreground_miou"] == pytest.approx(np.mean([iou for iou in foreground if iou is not None]))


def test_its_tree_is_the_one_that_the_page_draws(garden, capsys):
    configs = garden(shown_file())
    assert run(configs / "sclip.py", "--dataset", "garden") == 2
    told = capsys.readouterr().err
    drawn = PAGE.read_text()
    assert "data/garden is missing" in told
    for line in ("data/garden/", "pictures/NAME.jpg", "labels/NAME.png"):
        assert line in told
        assert f"\n    {line}" in drawn or f"\n{line}" in drawn


FILE = """
dataset = dict(
    type="FolderDataset",
    data_root="data/garden",
    pictures="pictures",
    labels="labels",
    picture_suffix=(".jpg", ".png"),
    label_suffix=".png",
    vocabulary={vocabulary!r},
)
settings = dict(vocabulary={vocabulary!r}, {settings})
"""


@pytest.mark.parametrize("method", METHODS)
def test_vocabulary_from_a_file_and_no_background(method, garden):
    words = "# a garden\nrose; rose flower\nlawn; grass\noak tree\npath\n"
    configs = garden(FILE.format(vocabulary="garden.txt", settings="background=None"))
    Path("garden.txt").write_text(words)
    result = check(configs, method, make_garden(Path("data/garden")))
    assert result["vocabulary"]["name"] == "garden"
    assert list(result["per_class"]) == ["rose", "lawn", "oak tree", "path"]
    assert "|background:None<0|" in result["signature"]
    ious = [row["iou"] for row in result["per_class"].values()]
    assert result["foreground_miou"] == pytest.approx(np.mean([iou for iou in ious if iou is not None]))


def test_settings_of_the_dataset_reach_the_model(garden):
    words = ["rose", "lawn", "oak tree", "path"]
    configs = garden(FILE.format(vocabulary=words, settings="background=None, logit_scale=33, long_side=77"))
    make_garden(Path("data/garden"))
    assert run(configs / "sclip.py", "--dataset", "garden", "--work-dir", "mine") == 0
    assert {"scale:33", "size:48<77"} <= set(result_of("mine")["signature"].split("|"))


def test_vocabulary_of_another_length_than_the_classes(garden, capsys):
    configs = garden(FILE.format(vocabulary=["rose", "lawn", "oak tree", "path"], settings="background=None"))
    make_garden(Path("data/garden"))
    Path("short.txt").write_text("rose\nlawn\n")
    arguments = ("--dataset", "garden", "--work-dir", "mine")
    assert run(configs / "sclip.py", *arguments, options=["model.vocabulary=short.txt"]) == 2
    assert "vocabulary short has 2 classes (rose, lawn), the dataset has 4 (rose, lawn, " in capsys.readouterr().err
    assert not Path("mine").exists()


def test_labels_that_start_at_one(garden):
    text = FILE.format(vocabulary=["rose", "lawn", "oak tree"], settings="background=None")
    configs = garden(text.replace('label_suffix=".png"', 'label_suffix=".png", reduce_zero_label=True'))
    labels = make_garden(Path("data/garden"))
    evaluated = [np.where((label == 0) | (label == 255), 255, label - 1) for label in labels]
    assert run(configs / "sclip.py", "--dataset", "garden", "--work-dir", "mine", "--out", "maps") == 0
    maps = [np.array(Image.open(path)) - 1 for path in sorted(Path("maps").iterdir())]
    assert result_of("mine")["miou"] == pytest.approx(miou(maps, evaluated))


def test_pictures_of_every_kind(garden):
    """Grey, RGBA, 16-bit and 5 x 7 pictures, and one turned by EXIF whose label is upright."""
    configs = garden(FILE.format(vocabulary=["rose", "lawn", "oak tree", "path"], settings="background=None"))
    folder = Path("data/garden")
    labels = make_garden(folder, count=1)
    photo = cv2.imread(str(folder / "pictures" / "plot0.jpg"))
    files = {
        "grey.png": photo[..., 0],
        "rgba.png": np.dstack([photo, photo[..., 0]]),
        "deep.png": photo.astype(np.uint16) * 257,
        "small.png": photo[:5, :7],
    }
    for name, pixels in files.items():
        cv2.imwrite(str(folder / "pictures" / name), pixels)
        cv2.imwrite(str(folder / "labels" / name), labels[0][: len(pixels), : pixels.shape[1]])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(folder / "pictures" / "turned.jpg", exif=exif)
    cv2.imwrite(str(folder / "labels" / "turned.png"), np.rot90(labels[0], -1))
    assert run(configs / "sclip.py", "--dataset", "garden", "--out", "maps", "--show-dir", "drawings") == 0
    maps = {path.stem: np.array(Image.open(path)) for path in Path("maps").iterdir()}
    assert len(list(Path("drawings").iterdir())) == 6
    assert maps["small"].shape == (5, 7)
    assert maps["turned"].shape == (SIZE[1], SIZE[0])
    for name in ("rgba", "deep"):
        np.testing.assert_array_equal(maps[name], maps["plot0"])


def test_shown_file_is_valid_by_itself(tmp_path):
    (tmp_path / "garden.py").write_text(shown_file())
    config = Config.fromfile(tmp_path / "garden.py")
    assert config.dataset.type == "FolderDataset"
    assert config.settings.vocabulary == config.dataset.vocabulary
