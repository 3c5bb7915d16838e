"""mmseg's `MMSegInferencer` on our configs predicts what `inference_model` does, and names and draws it right."""

import warnings
from pathlib import Path

import mmseg.apis
import numpy as np
import pytest
from PIL import Image

from sclip_seg.drawing import make_palette
from sclip_seg.errors import InputError
from sclip_seg.toy.world import draw

CONFIG = str(Path(__file__).parents[2] / "configs" / "sclip.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with three pictures under `pictures/`; the variables choose the toy axes."""
    folder = tmp_path_factory.mktemp("inferencer")
    (folder / "pictures").mkdir()
    for index, size in enumerate([(80, 96), (96, 80), (70, 70)]):
        Image.fromarray(draw(0, index, *size, count=(3, 5)).image).save(folder / "pictures" / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SCLIP_BACKBONE", "toy")
        patch.setenv("SCLIP_DATASET", "toy")
        yield folder


@pytest.fixture(scope="module")
def inferencer(place):
    with warnings.catch_warnings():  # that nothing was loaded from a checkpoint, and Cityscapes would be assumed
        warnings.simplefilter("ignore")
        return mmseg.apis.MMSegInferencer(model=CONFIG, device="cpu")


@pytest.fixture(scope="module")
def expected(place):
    """Labels (H, W) of each picture by `inference_model`."""
    model = mmseg.apis.init_model(CONFIG, device="cpu")
    paths = sorted((place / "pictures").iterdir())
    return [mmseg.apis.inference_model(model, str(path)).pred_sem_seg.data[0].numpy() for path in paths]


def test_a_path_and_an_array(inferencer, expected, place):
    path = place / "pictures" / "0.png"
    found = inferencer(str(path))["predictions"]
    np.testing.assert_array_equal(found, expected[0])
    assert len(np.unique(found)) > 2
    bgr = np.asarray(Image.open(path))[..., ::-1]
    np.testing.assert_array_equal(inferencer(np.ascontiguousarray(bgr))["predictions"], expected[0])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_folder_with_its_results_written(inferencer, expected, place, tmp_path, batch_size):
    found = inferencer(str(place / "pictures"), out_dir=str(tmp_path), batch_size=batch_size)["predictions"]
    written = sorted((tmp_path / "pred").iterdir())
    drawn = sorted((tmp_path / "vis").iterdir())
    assert [path.name for path in drawn] == ["0.png", "1.png", "2.png"]
    # The folder's order is the file system's.
    by_shape = {labels.shape: labels for labels in expected}
    for labels, path in zip(found, written, strict=True):
        np.testing.assert_array_equal(labels, by_shape[labels.shape])
        np.testing.assert_array_equal(np.asarray(Image.open(path)), labels)
    for labels, path in zip(expected, drawn, strict=True):
        assert np.asarray(Image.open(path)).shape[:2] == labels.shape


def test_pictures_are_drawn_in_the_colours_of_the_words(inferencer, expected, place):
    path = str(place / "pictures" / "0.png")
    drawn = inferencer(path, return_vis=True, opacity=1.0, with_labels=False)["visualization"]
    palette = np.array(make_palette(15), dtype=np.uint8)
    is_so = (drawn == palette[expected[0]]).all(-1)
    assert is_so.mean() > 0.95  # older mmcv and OpenCV blend where labels meet
    assert inferencer.model.dataset_meta["classes"][1:4] == ("tomato", "heart", "brick")


def test_an_unreadable_picture_is_named(inferencer, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"the picture .*bad\.png cannot be read"):
        inferencer(str(tmp_path / "bad.png"))
