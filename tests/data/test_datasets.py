"""Every benchmark builds from its file and gives the labels that were drawn, and so does one's own folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from raw_more import RAW
from trees import BENCHMARKS, CONFIGS, dataset_settings, make_tree

from sclip_seg.data.prepare.overview import draw_overview
from sclip_seg.data.prepare.verify import verify
from sclip_seg.drawing import make_palette
from sclip_seg.errors import InputError

PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "mmseg.LoadAnnotations"}]
CLASSES = dict(zip(BENCHMARKS, (21, 20, 60, 59, 81, 171, 171, 19, 150), strict=True))
# Class of the background, where there is one.
BACKGROUND = {"voc21": 0, "context60": 0, "coco_object": 0}
NOTHING_IGNORED = {"context60", "coco_object"}


def build(config, **more):
    return DATASETS.build({"pipeline": PIPELINE, "test_mode": True, **config, **more})


def write_png(path, value, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_gives_what_was_drawn(name, tmp_path):
    expected = make_tree(name, tmp_path, count=3)
    config, settings = dataset_settings(name, tmp_path)
    dataset = build(config)
    assert len(dataset) == 3
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == CLASSES[name]
    assert settings["background"] == BACKGROUND.get(name)
    for item, label in zip(dataset, expected, strict=True):
        np.testing.assert_array_equal(item["gt_seg_map"], label)
        assert item["img"].shape == (*label.shape, 3)
    seen = set(np.unique(np.concatenate([label.ravel() for label in expected])))
    assert seen >= set(range(CLASSES[name]))
    assert seen - set(range(CLASSES[name])) == (set() if name in NOTHING_IGNORED else {255})


@pytest.mark.parametrize("name", BENCHMARKS)
def test_first_pictures_only(name, tmp_path):
    make_tree(name, tmp_path, count=3)
    assert len(build(dataset_settings(name, tmp_path)[0], indices=2)) == 2


def test_no_benchmark_file_without_a_made_tree():
    types = {path.stem: Config.fromfile(path).dataset.type for path in CONFIGS.glob("*.py")}
    drawn = {"toy", "toy_stuff", "toy_rich", "toy_rich_stuff"}
    assert set(BENCHMARKS) | set(RAW) == types.keys() - {"_words"} - drawn
    assert set(BENCHMARKS) <= {name for name, kind in types.items() if kind != "FolderDataset"}


def test_folder_dataset_from_a_config_alone(tmp_path):
    for index, suffix in enumerate((".jpg", ".png")):
        write_png(tmp_path / f"photos/site/{index}{suffix}", 100 + index)
        write_png(tmp_path / f"truth/site/{index}_label.png", index + 1)
    dataset = build(
        {
            "type": "FolderDataset",
            "data_root": str(tmp_path),
            "pictures": "photos",
            "labels": "truth",
            "picture_suffix": [".jpg", ".png"],
            "label_suffix": "_label.png",
            "vocabulary": ["sky; clouds", ["person", "man"], "tree"],
        }
    )
    assert dataset.metainfo["classes"] == ("sky", "person", "tree")
    assert len(dataset.metainfo["palette"]) == 3
    assert [Path(item["img_path"]).name for item in dataset] == ["0.jpg", "1.png"]
    assert [np.unique(item["gt_seg_map"]).tolist() for item in dataset] == [[1], [2]]


def folder_config(root, **more):
    config = {
        "type": "FolderDataset",
        "data_root": str(root),
        "pictures": "pictures",
        "labels": "labels",
        "picture_suffix": ".png",
        "vocabulary": ["sky", "tree"],
    }
    return config | more


def test_folder_dataset_calls_its_background_so(tmp_path):
    write_png(tmp_path / "pictures/a.png", 9)
    write_png(tmp_path / "labels/a.png", 0)
    dataset = build(folder_config(tmp_path, vocabulary=["soil; gravel", "tree"], background=0))
    assert dataset.metainfo["classes"] == ("background", "tree")


@pytest.mark.parametrize("planar", ["separate", "contig"])
def test_folder_dataset_says_which_bands_are_colours(planar, tmp_path):
    """Of five bands, stored one after the other or pixel by pixel, of 12 bits: the third is red, the first blue."""
    values = np.random.default_rng(0).integers(0, 4096, (5, 6, 8)).astype(np.uint16)
    values[:, 0, 0] = 4095
    (tmp_path / "pictures").mkdir()
    shown = values if planar == "separate" else np.moveaxis(values, 0, -1)
    tifffile.imwrite(tmp_path / "pictures/a.tif", shown, photometric="minisblack", planarconfig=planar)
    write_png(tmp_path / "labels/a.png", 1)
    config = folder_config(tmp_path, picture_suffix=".tif", bands=[3, 2, 1])
    with pytest.warns(UserWarning, match="read as one of 12 bits"):
        (item,) = build(config, pipeline=[{"type": "mmseg.LoadPicture"}])
    assert np.array_equal(item["img"][..., ::-1], np.moveaxis(values[[2, 1, 0]] // 16, 0, -1))
    with pytest.warns(UserWarning, match="read as one of 12 bits"):
        findings = verify(config)
    with pytest.warns(UserWarning, match="read as one of 12 bits"):
        draw_overview(findings)
    assert (findings.faults, len(findings.good)) == ([], 1)
    assert verify({**config, "bands": [6, 2, 1]}).faults == [
        f"the picture {tmp_path}/pictures/a.tif cannot be read: it has 5 bands, and band 6 was asked for"
    ]
    with pytest.raises(InputError, match=r"bands=\[3, 2\] are not three"):
        build({**config, "bands": [3, 2]})


def test_folder_dataset_singles_out_classes(tmp_path):
    write_png(tmp_path / "pictures/a.png", 9)
    write_png(tmp_path / "labels/a.png", 0)
    assert build(folder_config(tmp_path, classes_of_interest=[1])).metainfo["classes_of_interest"] == [1]
    with pytest.raises(InputError, match=r"classes_of_interest=\[2\] go beyond the 2 classes"):
        build(folder_config(tmp_path, classes_of_interest=[2]))


def test_folder_dataset_with_list_vocabulary_file_and_zero_ignored(tmp_path):
    for stem, value in (("a", 0), ("b", 1), ("c", 2)):
        write_png(tmp_path / f"pictures/{stem}.png", 9)
        write_png(tmp_path / f"labels/{stem}.png", value)
    (tmp_path / "mine.txt").write_text("sky\ntree; bush\n")
    (tmp_path / "val.txt").write_text("c\na\n")
    dataset = build(
        folder_config(tmp_path, vocabulary=str(tmp_path / "mine.txt"), ann_file="val.txt", reduce_zero_label=True)
    )
    assert [Path(item["img_path"]).stem for item in dataset] == ["c", "a"]
    assert [np.unique(item["gt_seg_map"]).tolist() for item in dataset] == [[1], [255]]


def test_folder_dataset_in_one_folder(tmp_path):
    for stem in "ab":
        write_png(tmp_path / f"all/{stem}.png", 9)
        write_png(tmp_path / f"all/{stem}_label.png", 1)
    dataset = build(folder_config(tmp_path, pictures="all", labels="all", label_suffix="_label.png"))
    assert [Path(item["img_path"]).name for item in dataset] == ["a.png", "b.png"]


def test_folder_dataset_refuses_two_pictures_of_one_name(tmp_path):
    write_png(tmp_path / "pictures/a.png", 9)
    write_png(tmp_path / "pictures/a.jpg", 9)
    with pytest.raises(InputError, match=r"would share the label a\.png"):
        build(folder_config(tmp_path, picture_suffix=(".png", ".jpg")))


def test_folder_dataset_refuses_a_listed_picture_that_is_absent(tmp_path):
    write_png(tmp_path / "pictures/a.png", 9)
    (tmp_path / "val.txt").write_text("b\n")
    with pytest.raises(InputError, match=r"val.txt: no picture b in"):
        build(folder_config(tmp_path, ann_file="val.txt"))


def test_palette_is_well_separated():
    palette = make_palette(20)
    lab = cv2.cvtColor(np.array([[[0, 0, 0], [255, 255, 255], *palette]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(lab)) * 1e3
    assert distance.min() > 30  # one just tells colours apart at 2.3
    assert palette == make_palette(255)[:20]
    assert len({tuple(colour) for colour in make_palette(255)}) == 255
