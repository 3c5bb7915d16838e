"""The network's input against mmcv's resize and mmseg's normalisation."""

import mmcv
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.models import SegDataPreProcessor
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from sclip_seg.picture.preprocessor import Preprocessor

MEAN, STD = (122.771, 116.746, 104.094), (68.501, 66.632, 70.323)  # of every official config


def preprocessor(short_side: int | None = 336, patch: int = 16, **others) -> Preprocessor:
    return Preprocessor(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, patch, short_side, **others)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8"""
    pixels = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(16, 1200))
def test_the_size_rule(height, width, short):
    factor = min(2048 / max(height, width), short / min(height, width))
    expected = tuple(max(int(side * factor + 0.5), 16) for side in (height, width))
    assert preprocessor(short).size(height, width) == expected
    if min(expected) > 16:
        own = mmcv.rescale_size((width, height), (2048, short))
        assert expected == own[::-1]


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((375, 500), 336, (336, 448)),
        ((480, 640), 448, (448, 597)),
        ((1024, 2048), 560, (560, 1120)),
        ((512, 683), 336, (336, 448)),
        ((500, 333), 336, (505, 336)),
        ((100, 4000), 336, (51, 2048)),
        ((4000, 10), 336, (2048, 16)),
        ((5, 7), 336, (336, 470)),
        ((5, 7), None, (16, 16)),
        ((333, 487), None, (333, 487)),
    ],
    ids=str,
)
def test_sizes_worked_out_by_hand(size, short, expected):
    assert preprocessor(short).size(*size) == expected
    assert preprocessor(short).resize(picture(*size)).shape == (3, *expected)


@pytest.mark.parametrize(("size", "short"), [((37, 53), 64), ((90, 61), 32), ((64, 200), 64), ((20, 900), 48)], ids=str)
def test_the_resize_is_mmcvs_on_8_bits(size, short):
    pixels = picture(*size)
    resized = preprocessor(short, patch=4, long_side=400).resize(pixels)
    own = mmcv.imrescale(pixels.permute(1, 2, 0).numpy(), (400, short), interpolation="bilinear")
    assert resized.dtype == torch.uint8
    assert np.array_equal(resized.permute(1, 2, 0).numpy(), own)


def test_a_picture_of_that_size_already_is_left_alone():
    pixels = picture(64, 80)
    assert preprocessor(64).resize(pixels) is pixels


@pytest.mark.parametrize("size", [(32, 40), (5, 7), (9, 300)], ids=str)
def test_the_normalisation_is_mmsegs(size):
    ours = preprocessor(24, patch=8)
    pixels = picture(*size)
    [result] = ours({"inputs": [pixels]})["inputs"]
    small = ours.resize(pixels)
    own = SegDataPreProcessor(mean=MEAN, std=STD, bgr_to_rgb=True)
    expected = own({"inputs": [small], "data_samples": None})["inputs"][0]
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_blue_green_red_becomes_red_green_blue():
    pixels = torch.zeros(3, 16, 16, dtype=torch.uint8)
    pixels[2] = 255  # red, as cv2 stores it
    [result] = preprocessor(None)({"inputs": [pixels]})["inputs"]
    for channel, value in enumerate((255, 0, 0)):
        torch.testing.assert_close(result[channel], torch.full((16, 16), (value - MEAN[channel]) / STD[channel]))


def test_pictures_of_several_sizes_stay_a_list_with_their_samples():
    data = {"inputs": [picture(20, 30), picture(5, 7), picture(16, 900)], "data_samples": ["a", "b", "c"]}
    result = preprocessor(32)(data)
    assert [tuple(image.shape) for image in result["inputs"]] == [(3, 32, 48), (3, 32, 45), (3, 32, 1800)]
    assert result["data_samples"] == ["a", "b", "c"]


def test_other_weights_bring_their_own_statistics():
    ours = Preprocessor((0.5, 0.25, 0.125), (0.5, 0.5, 0.1), 16, None)
    assert ours.mean.flatten().tolist() == [127.5, 63.75, 31.875]
    torch.testing.assert_close(ours.std.flatten(), torch.tensor([127.5, 127.5, 25.5]))


@pytest.mark.parametrize("size", [(5, 7), (7, 5), (1, 1), (3, 200)], ids=str)
def test_the_smallest_pictures_run_to_their_labels(size, build_segmentor):
    for short_side in (None, 40):
        segmentor = build_segmentor(short_side=short_side)
        data = segmentor.data_preprocessor({"inputs": [picture(*size)]})
        [result] = segmentor.predict(data["inputs"])
        assert result.pred_sem_seg.data.shape[1:] == data["inputs"][0].shape[1:]
