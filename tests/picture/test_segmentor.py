"""The segmentor as a whole: hand-made scores to hand-computed labels, batches, refinement, and mmseg's own API."""

from pathlib import Path

import cv2
import mmseg.apis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from PIL import Image

from sclip_seg.errors import InputError
from sclip_seg.picture.refine.pamr import PAMR

CONFIG = Path(__file__).parents[2] / "configs" / "sclip.py"
WHOLE = dict(crop=None, stride=None)
FAST = {
    "model.backbone.arch": "tiny",
    "model.backbone.pretrained": None,
    "model.templates": "photo",
    "model.text_cache": None,
    "model.short_side": 40,
    "model.window.crop": 32,
    "model.window.stride": 16,
}


def sample(height, width):
    return SegDataSample(metainfo=dict(ori_shape=(height, width)))


def labels_of(results):
    return [result.pred_sem_seg.data[0].numpy() for result in results]


def by_class(queries):
    """Maximum over the queries of each class of the tiny vocabulary, (7, H, W) -> (4, H, W)."""
    return torch.stack([part.amax(0) for part in queries.split([2, 1, 3, 1])])


def cosine_maps(segmentor, picture, size):
    """(Q, H, W): the patches' cosines of a picture read as one window, brought to its pixels and then to `size`."""
    features = F.normalize(segmentor.backbone(picture[None], segmentor.text.features), dim=1)
    maps = torch.einsum("ndhw,qd->nqhw", features, segmentor.text.features)
    for target in (picture.shape[1:], size):
        maps = F.interpolate(maps, target, mode="bilinear", align_corners=False)
    return maps[0]


@pytest.fixture
def label_patches(build_segmentor, monkeypatch):
    """`label_patches(scores, **settings)`: labels (n) of a row of n patches, a pixel each, with scores (Q, n)."""

    def label(scores, **settings):
        segmentor = build_segmentor(window=WHOLE, **settings)
        scores = torch.tensor(scores, dtype=torch.float32)
        monkeypatch.setattr(segmentor.backbone, "gather", lambda batch, text: scores[None, :, None])
        picture = torch.zeros(3, 8, 8 * scores.shape[1])
        (result,) = segmentor.predict([picture], [sample(1, scores.shape[1])])
        return result.pred_sem_seg.data[0, 0].tolist()

    return label


def test_best_class_and_ties(label_patches):
    assert label_patches([[0.9, 0.1], [0.2, 0.8], [0, 0.7]], vocabulary=["a", "b", "c"]) == [0, 1]
    assert label_patches([[0.1], [0.3], [0.3]], vocabulary=["a", "b", "c"]) == [1]


def test_class_has_its_best_query_and_not_the_sum(label_patches):
    scores = [[0.5], [0.2], [0.6], [0.55], [0.55], [0.55]]
    assert label_patches(scores, vocabulary=["a", "b; bb", "c; cc; ccc"]) == [1]


@pytest.mark.parametrize(("threshold", "label"), [(0, 1), (0.57, 1), (0.58, 0)])
def test_threshold_sends_to_background(label_patches, threshold, label):
    """softmax(10 · (0, 0.1, 0)) has e / (e + 2) = 0.576 as its largest."""
    settings = dict(vocabulary=["a", "b", "c"], logit_scale=10, background=0, background_threshold=threshold)
    assert label_patches([[0.0], [0.1], [0.0]], **settings) == [label]


def test_threshold_counts_every_query_in_the_normaliser(label_patches):
    """A synonym that is just as good halves the probability: e / (2e + 2) = 0.366."""
    settings = dict(vocabulary=["a", "b; bb", "c"], logit_scale=10, background=2, background_threshold=0.37)
    assert label_patches([[0.0], [0.1], [0.1], [0.0]], **settings) == [2]


def test_small_foreground_class_falls_to_its_next_best(label_patches):
    """Ten foreground pixels, one of class 1 and nine of class 2: one is not more than a tenth."""
    vocabulary = ["background", "a", "b"]
    scores = [[0.0] * 10 + [0.9, 0.9], [0.9] + [0.0] * 11, [0.5] + [0.9] * 9 + [0.0] * 2]
    settings = dict(vocabulary=vocabulary, background=0)
    assert label_patches(scores, **settings, min_area=0.09) == [1] + [2] * 9 + [0, 0]
    assert label_patches(scores, **settings, min_area=0.1) == [2] * 10 + [0, 0]
    scores[0][0] = 0.6
    assert label_patches(scores, **settings, min_area=0.1) == [0] + [2] * 9 + [0, 0]


def test_patches_are_joined_bilinearly(build_segmentor, monkeypatch):
    """Between the centres of two patches of 8 pixels, 1 - x meets 0.6 x at x = 5/8."""
    segmentor = build_segmentor(window=WHOLE, vocabulary=["a", "b"])
    monkeypatch.setattr(segmentor.backbone, "gather", lambda batch, text: torch.tensor([[[[1.0, 0.0]], [[0.0, 0.6]]]]))
    (result,) = segmentor.predict([torch.zeros(3, 8, 16)])
    # Pixel j lies at (j + 0.5) / 8 - 0.5 patches: pixel 8 at 0.5625 < 0.625, pixel 9 at 0.6875.
    assert result.pred_sem_seg.data[0].tolist() == [[0] * 9 + [1] * 7] * 8


def test_batch_of_sizes_equals_one_by_one(build_segmentor, pictures):
    segmentor = build_segmentor(logit_scale=100, background=0, background_threshold=0.3, min_area=0.05)
    inputs = [pictures(1, *size, seed=seed)[0] for seed, size in enumerate([(40, 56), (61, 33), (9, 80), (40, 56)])]
    shapes = [(50, 70), (61, 33), (13, 11), (37, 90)]
    together = labels_of(segmentor.predict(inputs, [sample(*shape) for shape in shapes]))
    alone = [labels_of(segmentor.predict([x], [sample(*shape)]))[0] for x, shape in zip(inputs, shapes, strict=True)]
    assert [labels.shape for labels in together] == shapes
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(np.concatenate([labels.ravel() for labels in together]))) > 1


def test_window_batch_moves_no_label(build_segmentor, pictures):
    picture = pictures(1, 72, 90)[0]
    results = [
        build_segmentor(window=dict(crop=32, stride=16, batch=batch), keep_scores=True).predict([picture])[0]
        for batch in (1, 5, 16)
    ]
    for result in results[1:]:
        assert torch.equal(result.pred_sem_seg.data, results[0].pred_sem_seg.data)
        torch.testing.assert_close(result.seg_logits.data, results[0].seg_logits.data, rtol=0, atol=1e-5)
    assert len(results[0].pred_sem_seg.data.unique()) > 1


def test_whole_picture_is_one_window(build_segmentor, pictures):
    segmentor = build_segmentor(window=WHOLE, keep_scores=True, logit_scale=40)
    picture = pictures(1, 40, 56)[0]
    (result,) = segmentor.predict([picture])
    expected = by_class((40 * cosine_maps(segmentor, picture, (40, 56))).softmax(0))
    torch.testing.assert_close(result.seg_logits.data, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(segmentor.extract_feat([picture])[0], segmentor.backbone(picture[None])[0])


def test_scores_are_kept_on_request_only(build_segmentor, pictures):
    picture = pictures(1, 40, 48)[0]
    (plain,) = build_segmentor().predict([picture])
    (kept,) = build_segmentor(keep_scores=True).predict([picture])
    assert "seg_logits" not in plain
    assert kept.seg_logits.data.shape == (4, 40, 48)
    assert torch.equal(kept.seg_logits.data.argmax(0), kept.pred_sem_seg.data[0])
    assert torch.equal(kept.pred_sem_seg.data, plain.pred_sem_seg.data)
    (encoded,) = build_segmentor().encode_decode([picture], [sample(40, 48)])
    torch.testing.assert_close(encoded, kept.seg_logits.data)


def test_refinement_acts_on_the_cosine_maps(build_segmentor, pictures):
    picture = pictures(1, 40, 48)[0]
    steps = [dict(type="PAMR", steps=2, dilations=(1, 2))]
    plain, refined = build_segmentor(window=WHOLE), build_segmentor(window=WHOLE, refine=steps)
    (before,) = plain.encode_decode([picture], [sample(60, 50)])
    (after,) = refined.encode_decode([picture], [sample(60, 50)])
    maps = PAMR(steps=2, dilations=(1, 2))(cosine_maps(plain, picture, (60, 50)), picture)
    torch.testing.assert_close(after, by_class((40 * maps).softmax(0)), rtol=0, atol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_error_of_a_refinement_is_not_swallowed(build_segmentor, pictures, monkeypatch):
    def fail(*_):
        raise RuntimeError("not enough memory")

    segmentor = build_segmentor(refine=[dict(type="PAMR")])
    monkeypatch.setattr(PAMR, "forward", fail)
    with pytest.raises(RuntimeError, match="not enough memory"):
        segmentor.predict([pictures(1, 32, 32)[0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(background_threshold=0.1), "need a background class"),
        (dict(min_area=0.1), "need a background class"),
        (dict(background=4), "background is class 4, and the vocabulary has 4 classes"),
        (dict(background=-1), "background is -1; it must be"),
        (dict(window=dict(batch=0)), "window.batch is 0"),
        (dict(window=dict(size=3)), "window has no key 'size'"),
        (dict(window=dict(crop=32, stride=33)), "stride"),
        (dict(window=dict(crop=4, stride=4)), "crop"),
        (dict(window=dict(padding="mirror")), "window.padding is 'mirror'"),
        (dict(vocabulary="nowhere"), "no vocabulary named 'nowhere'"),
        (dict(templates=["a photo"]), "must be a text with one {}"),
    ],
)
def test_contradictions(build_segmentor, settings, message):
    with pytest.raises(InputError) as caught:
        build_segmentor(**settings)
    assert message in str(caught.value)


def test_there_is_no_loss(build_segmentor):
    with pytest.raises(NotImplementedError, match="training-free"):
        build_segmentor().loss([], [])


@pytest.fixture
def model(tiny):
    return mmseg.apis.init_model(str(CONFIG), device="cpu", cfg_options=FAST | {"model.keep_scores": True})


@pytest.fixture
def photo():
    """A BGR picture (45, 60, 3) of smooth colours."""
    coarse = np.random.default_rng(3).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, (60, 45), interpolation=cv2.INTER_LINEAR)


@pytest.mark.filterwarnings("ignore:Failed to add")  # mmseg draws without a folder of its own
def test_mmseg_api_takes_paths_arrays_and_lists(model, photo, tmp_path):
    path = str(tmp_path / "photo.png")
    cv2.imwrite(path, photo)
    one = mmseg.apis.inference_model(model, path)
    assert one.pred_sem_seg.data.shape == (1, 45, 60)
    assert one.seg_logits.data.shape == (21, 45, 60)
    several = mmseg.apis.inference_model(model, [path, path])
    # mmseg makes the pipeline one for arrays at the first array; paths come before.
    array = mmseg.apis.inference_model(model, photo)
    arrays = mmseg.apis.inference_model(model, [photo, photo[:20]])
    for result in (*several, array, arrays[0]):
        assert torch.equal(result.pred_sem_seg.data, one.pred_sem_seg.data)
    assert arrays[1].pred_sem_seg.data.shape == (1, 20, 60)

    drawn = mmseg.apis.show_result_pyplot(model, photo, one, show=False, out_file=str(tmp_path / "drawn.png"))
    assert drawn.shape == photo.shape
    assert (tmp_path / "drawn.png").stat().st_size > 0
    assert np.abs(drawn.astype(int) - photo).max() > 0


def test_pictures_of_every_kind(model, photo, tmp_path):
    """Grey, RGBA and 16-bit pictures are read as their 8-bit colour versions, EXIF turns one, 5 x 7 pixels work."""
    grey = photo[..., 1]
    files = {
        "grey.png": (grey, np.stack([grey] * 3, axis=-1)),
        "rgba.png": (np.dstack([photo, photo[..., 0]]), photo),
        "deep.png": (photo.astype(np.uint16) * 257, photo),
        "deep_grey.png": (grey.astype(np.uint16) * 257, np.stack([grey] * 3, axis=-1)),
        "tiny.png": (photo[:5, :7], photo[:5, :7]),
    }
    for name, (pixels, _) in files.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    Image.fromarray(photo).save(tmp_path / "upright.jpg")
    Image.fromarray(photo).save(tmp_path / "turned.jpg", exif=exif)
    files["turned.jpg"] = (None, np.rot90(cv2.imread(str(tmp_path / "upright.jpg")), -1).copy())

    found = [mmseg.apis.inference_model(model, str(tmp_path / name)) for name in files]
    for result, (name, (_, plain)) in zip(found, files.items(), strict=True):
        expected = mmseg.apis.inference_model(model, plain)
        assert result.pred_sem_seg.data.shape[1:] == plain.shape[:2], name
        assert torch.equal(result.pred_sem_seg.data, expected.pred_sem_seg.data), name


def test_unreadable_picture_is_named(model, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"the picture .*bad\.jpg cannot be read"):
        mmseg.apis.inference_model(model, str(tmp_path / "bad.jpg"))
