"""What a user is told about folders that are not as a dataset expects them."""

import time

import numpy as np
import pytest
from PIL import Image
from trees import BENCHMARKS, dataset_settings, make_tree

from sclip_seg.data.check import check_dataset
from sclip_seg.errors import InputError


def told(config):
    with pytest.raises(InputError) as caught:
        check_dataset(config)
    return str(caught.value)


@pytest.fixture
def ade(tmp_path):
    make_tree("ade20k", tmp_path)
    config, _ = dataset_settings("ade20k", tmp_path)
    return config, tmp_path / "ade/ADEChallengeData2016"


@pytest.fixture
def voc(tmp_path):
    make_tree("voc21", tmp_path)
    config, _ = dataset_settings("voc21", tmp_path)
    return config, tmp_path / "VOCdevkit/VOC2012"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_whole_tree_is_counted(name, tmp_path):
    make_tree(name, tmp_path, count=4)
    assert check_dataset(dataset_settings(name, tmp_path)[0]) == 4


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_data_folder(name, tmp_path):
    config, _ = dataset_settings(name, tmp_path)
    message = told(config)
    assert message.startswith(f"data folder {config['data_root']} is missing")
    assert f"  {config['data_root']}/\n" in message
    for folder in config["data_prefix"].values():
        assert f"    {folder}/NAME" in message
    assert config.get("ann_file", "") in message


def test_expected_tree_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _ = dataset_settings("voc21", "data")
    assert told(config) == (
        f"data folder data/VOCdevkit/VOC2012 is missing (in the working folder {tmp_path}); "
        "expected (data/README.md says where to get it):\n"
        "  data/VOCdevkit/VOC2012/\n"
        "    JPEGImages/NAME.jpg             pictures\n"
        "    SegmentationClass/NAME.png      labels\n"
        "    ImageSets/Segmentation/val.txt  one NAME a line"
    )


def test_suffixes_of_cityscapes_in_the_tree(tmp_path):
    message = told(dataset_settings("cityscapes", tmp_path)[0])
    assert "leftImg8bit/val/NAME_leftImg8bit.png" in message
    assert "gtFine/val/NAME_gtFine_labelTrainIds.png" in message


@pytest.mark.parametrize(("folder", "what"), [("images", "picture folder"), ("annotations", "label folder")])
def test_missing_inner_folder(ade, folder, what):
    config, root = ade
    (root / folder).rename(root / "elsewhere")
    assert told(config).startswith(f"{what} {root / folder / 'validation'} is missing")


def test_missing_list_file(voc):
    config, root = voc
    (root / "ImageSets/Segmentation/val.txt").unlink()
    assert told(config).startswith(f"list file {root}/ImageSets/Segmentation/val.txt is missing")


def test_empty_picture_folder(ade):
    config, root = ade
    for path in (root / "images/validation").iterdir():
        path.unlink()
    message = told(config)
    assert message.startswith(f"no picture .jpg in {root}/images/validation: it is empty")
    assert "NAME.jpg" in message


def test_pictures_with_another_suffix(ade):
    config, root = ade
    for path in (root / "images/validation").iterdir():
        path.rename(path.with_suffix(".JPG"))
    assert "it has 3 other files (ADE_val_00000000.JPG, " in told(config)


def test_labels_not_converted(tmp_path):
    make_tree("coco_stuff164k", tmp_path)
    config, _ = dataset_settings("coco_stuff164k", tmp_path)
    for path in tmp_path.rglob("*_labelTrainIds.png"):
        path.unlink()
    message = told(config)
    assert message.startswith("no label _labelTrainIds.png in ")
    assert "3 other files (000000000000.png" in message


def test_pictures_without_labels_and_labels_without_pictures(ade):
    config, root = ade
    (root / "annotations/validation/ADE_val_00000001.png").unlink()
    assert told(config) == (
        f"1 picture (ADE_val_00000001) of 3 without label (NAME.png in {root}/annotations/validation)"
    )
    (root / "images/validation/ADE_val_00000002.jpg").unlink()
    message = told(config)
    assert "1 picture (ADE_val_00000001) of 2 without label" in message
    assert "1 label (ADE_val_00000002) of 2 without picture" in message


def test_first_three_names(tmp_path):
    make_tree("cityscapes", tmp_path, count=8)
    config, _ = dataset_settings("cityscapes", tmp_path)
    for path in sorted((tmp_path / "cityscapes/gtFine/val").rglob("*TrainIds.png"))[:5]:
        path.unlink()
    message = told(config)
    assert message.startswith("5 pictures (frankfurt/frankfurt_000000_000019, lindau/")
    assert "lindau/lindau_000002_000019, ...) of 8 without label" in message


def test_list_narrows_both_sides(voc):
    config, root = voc
    (root / "SegmentationClass/unused.png").touch()
    assert check_dataset(config) == 3
    (root / "SegmentationClass/2007_000001.png").unlink()
    assert told(config).startswith("1 picture (2007_000001) of 3 without label")


def test_list_of_absent_pictures(voc):
    config, root = voc
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000000\nx1\nx2\nx3\nx4.jpg\n")
    message = told(config)
    assert "val.txt names 4 pictures (x1, x2, x3, ...): not in " in message
    assert "with .jpg behind the name" in message


@pytest.mark.parametrize(
    ("content", "message"), [("", "is empty"), ("2007_000000\n\n2007_000001\n", "line 2: empty line")]
)
def test_bad_list(voc, content, message):
    config, root = voc
    (root / "ImageSets/Segmentation/val.txt").write_text(content)
    assert message in told(config)


def test_faults_of_the_config(ade):
    config, _ = ade
    assert "of type 'ADE20kDataset'; near: ADE20KDataset" in told(config | {"type": "ADE20kDataset"})
    assert "of type None" in told({"data_root": "data"})
    assert "no key 'img_sufix'; did you mean 'img_suffix'?" in told(config | {"img_sufix": ".png"})
    assert "lacks seg_map_path" in told(config | {"data_prefix": {"img_path": "images/validation"}})
    assert "no key 'img_path'" in told({"type": "FolderDataset", "img_path": "x"})
    assert "FolderDataset lacks labels" in told(
        {"type": "FolderDataset", "data_root": "x", "pictures": "x", "vocabulary": ["a"]}
    )


def test_key_given_beside_the_defaults(ade):
    config, root = ade
    for path in (root / "images/validation").iterdir():
        path.rename(path.with_suffix(".jpeg"))
    assert check_dataset(config | {"img_suffix": ".jpeg", "pipeline": [], "indices": 1}) == 3


def test_folder_dataset(tmp_path):
    config = {
        "type": "FolderDataset",
        "data_root": str(tmp_path / "mine"),
        "pictures": "photos",
        "labels": "truth",
        "picture_suffix": [".jpg", ".jpeg"],
        "label_suffix": "_label.png",
        "vocabulary": ["sky", "tree"],
    }
    assert "photos/NAME.jpeg|.jpg" in told(config)
    for index, suffix in enumerate((".jpg", ".jpeg", ".jpeg")):
        for path in (f"photos/{index}{suffix}", f"truth/{index}_label.png"):
            (tmp_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / path).touch()
    assert check_dataset(config) == 3
    (tmp_path / "mine/photos/2.jpg").touch()
    assert "would share the label 2_label.png" in told(config)


def test_pictures_are_not_opened_and_five_thousand_are_quick(ade):
    config, root = ade
    for index in range(5000):
        (root / f"images/validation/x{index}.jpg").touch()
        (root / f"annotations/validation/x{index}.png").touch()
    start = time.process_time()  # not what other processes take
    assert check_dataset(config) == 5003
    assert time.process_time() - start < 5, "each name costs more the more there are"


def test_hidden_files_are_no_pictures(ade):
    config, root = ade
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(root / "images/validation/._ADE_val_00000000.jpg")
    assert check_dataset(config) == 3
