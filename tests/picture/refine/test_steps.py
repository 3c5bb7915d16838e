"""What comes before the score maps and after the labels: auxiliary texts, the closing, the centre crop."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.registry import TRANSFORMS
from PIL import Image

from sclip_seg.errors import InputError
from sclip_seg.picture.refine.closing import Closing
from sclip_seg.registry import STEPS
from sclip_seg.words.auxiliary_texts import AuxiliaryTexts
from sclip_seg.words.text import TextBank
from sclip_seg.words.vocabulary import Vocabulary

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC


@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99), size=st.sampled_from([1, 3, 5]))
def test_closing_is_that_of_opencv(height, width, seed, size):
    labels = np.random.default_rng(seed).integers(0, 9, (height, width)).astype(np.uint8)
    expected = cv2.morphologyEx(labels, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    found = Closing(size)(torch.from_numpy(labels).long(), torch.zeros(3, 4, 4))
    assert found.dtype == torch.long
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("size", [0, 2, -3])
def test_closing_of_an_even_size(size):
    with pytest.raises(InputError, match=r"odd size|from 1 to 255"):
        STEPS.build(dict(type="Closing", size=size))


def test_steps_on_labels_come_last(build_segmentor, pictures):
    closing, pamr = dict(type="Closing"), dict(type="PAMR", steps=1, dilations=(1,))
    with pytest.raises(InputError, match="after one on labels"):
        build_segmentor(refine=[closing, pamr])
    picture = pictures(1, 40, 48)[0]
    (plain,), (closed,) = (build_segmentor(refine=steps).predict([picture]) for steps in ([pamr], [pamr, closing]))
    expected = Closing()(plain.pred_sem_seg.data[0], picture)
    assert torch.equal(closed.pred_sem_seg.data[0], expected)
    assert not torch.equal(expected, plain.pred_sem_seg.data[0])


@pytest.fixture
def texts(tmp_path):
    """Auxiliary texts for the four classes of the tiny vocabulary, none for the second."""
    path = tmp_path / "mine.txt"
    path.write_text("# mine\nthe air above\n-\na barking animal\nbaked clay\n")
    return str(path)


def test_auxiliary_texts_are_blended_into_every_query_of_a_class(texts):
    extra = AuxiliaryTexts.load(texts, 0.25)
    assert extra.vocabulary.queries == ("the air above", "a barking animal", "baked clay")
    bank = TextBank(torch.eye(7, 8), torch.tensor([0, 0, 1, 2, 2, 2, 3]), 4)
    own = TextBank(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.arange(3), 3)
    blended = extra.blend(bank, own).features
    rows = {0: 0, 1: 0, 3: 1, 4: 1, 5: 1, 6: 2}
    for query in range(7):
        name = bank.features[query]
        expected = 0.75 * name + 0.25 * own.features[rows[query]] if query in rows else name
        torch.testing.assert_close(blended[query], expected)


def test_auxiliary_texts_reach_the_bank(build_segmentor, texts):
    plain, blended = build_segmentor(), build_segmentor(auxiliary=dict(texts=texts, weight=0.25))
    for segmentor in (plain, blended):
        segmentor.prepare()
    moved = (plain.text.features != blended.text.features).any(1)
    assert moved.tolist() == [True, True, False, True, True, True, True]
    assert blended.text.features.norm(dim=1)[moved].max() < 1  # not normalised again


@pytest.mark.parametrize(
    ("content", "weight", "message"),
    [
        ("a\nb\nc\nd\n", 1.5, "between 0 and 1"),
        ("a\nb\n\nd\n", 0.5, "class 2 has an empty line"),
        ("a\nb\nc\n", 0.5, "for 3 classes, and the vocabulary inline has 4"),
    ],
)
def test_wrong_auxiliary_texts(content, weight, message, build_segmentor, tmp_path):
    (tmp_path / "wrong.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        build_segmentor(auxiliary=dict(texts=str(tmp_path / "wrong.txt"), weight=weight))
    with pytest.raises(InputError, match="near: voc21_definitions"):
        AuxiliaryTexts.load("voc21_definition", 0.1)


def test_shipped_auxiliary_texts_fit_a_vocabulary():
    extra = AuxiliaryTexts.load("cityscapes_synonyms", 0.05)
    extra.check(Vocabulary.load("cityscapes_itaclip"))
    assert extra.digest != AuxiliaryTexts.load("voc21_definitions", 0.05).digest


@pytest.mark.parametrize(("height", "width"), [(30, 50), (41, 23), (16, 16), (10, 12)])
def test_centre_crop(height, width):
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    labels = generator.integers(0, 5, (height, width)).astype(np.uint8)
    step = TRANSFORMS.build(dict(type="CentreCrop", size=16))
    found = step(dict(img=picture, gt_seg_map=labels, ori_shape=(height, width)))
    size = (16, int(16 * width / height)) if height <= width else (int(16 * height / width), 16)
    top, left = (round((side - 16) / 2) for side in size)
    for key, pixels, rule in (("img", picture, BICUBIC), ("gt_seg_map", labels, NEAREST)):
        small = np.asarray(Image.fromarray(pixels).resize(size[::-1], rule))
        assert np.array_equal(found[key], small[top : top + 16, left : left + 16])
    assert found["ori_shape"] == found["img_shape"] == (16, 16)
    assert step(dict(img=picture, ori_shape=(height, width)))["img"].shape == (16, 16, 3)


def test_relabel():
    step = TRANSFORMS.build(dict(type="Relabel", mapping=[(255, 0), (3, 255)], empty=[0, 255]))
    full = np.array([[0, 1], [3, 255]], np.uint8)
    assert step(dict(gt_seg_map=full))["gt_seg_map"].tolist() == [[0, 1], [255, 0]]
    assert step(dict(gt_seg_map=np.array([[0, 255]], np.uint8)))["gt_seg_map"].tolist() == [[255, 255]]
