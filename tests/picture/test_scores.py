"""From scores to labels against the plain published chain, and the counts behind mIoU against loops."""

import numpy as np
import plain_chain
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.evaluate.metric import PooledIoU, confusion
from sclip_seg.picture import scores as scores_module
from sclip_seg.picture.scores import DenseMaps, Labelling, StitchedMaps

class_sizes = st.lists(st.integers(1, 4), min_size=2, max_size=5)


def random_scores(queries: int, height: int, width: int, seed: int, spread: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(queries, height, width, generator=generator)


def owners(sizes: list[int]) -> list[int]:
    return [index for index, size in enumerate(sizes) for _ in range(size)]


def gap(probability: Tensor) -> Tensor:
    """(H, W): by how much the likeliest class leads the second."""
    first, second = probability.topk(2, dim=0).values
    return first - second


def assert_labels(label: Tensor, probability: Tensor, threshold: float = 0.0) -> None:
    """`label` is the plain chain's wherever rounding cannot decide."""
    clear = (gap(probability) > 1e-6) & ((probability.amax(0) - threshold).abs() > 1e-6)
    assert label.dtype == torch.long
    assert torch.equal(label[clear], plain_chain.labels(probability, threshold)[clear])


@given(class_sizes, st.sampled_from([1.0, 10.0, 40.0, 65.0]), st.sampled_from([0.0, 0.1, 0.3, 0.7]), st.integers(0, 99))
def test_labels_are_the_plain_chains(sizes, scale, threshold, seed):
    maps = random_scores(sum(sizes), 9, 11, seed)
    expected = plain_chain.class_probabilities(maps.double(), owners(sizes), scale)
    rule = Labelling(torch.tensor(sizes), scale, background=0, background_threshold=threshold)
    assert_labels(rule.labels(DenseMaps(maps)), expected, threshold)
    torch.testing.assert_close(rule.probabilities(DenseMaps(maps)).double(), expected, rtol=0, atol=1e-6)
    assert (gap(expected) > 1e-6).float().mean() > 0.9


@given(
    st.lists(st.integers(1, 3), min_size=3, max_size=7),
    st.sampled_from([0.1, 0.2, 0.4]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 99),
)
def test_area_filter_is_the_plain_chains(sizes, min_area, threshold, seed):
    maps = random_scores(sum(sizes), 3, 4, seed)
    first = plain_chain.class_probabilities(maps.double(), owners(sizes), 20.0)
    assume(gap(first).min() > 1e-6)  # a pixel that rounding decides could decide a whole class
    rule = Labelling(torch.tensor(sizes), 20.0, background=0, background_threshold=threshold, min_area=min_area)
    assert_labels(rule.labels(DenseMaps(maps)), plain_chain.after_area_filter(first, min_area), threshold)


def test_a_removed_class_leaves_its_pixels_to_the_next_best_that_survives():
    # Six pixels; class 1 wins one of five foreground pixels, and class 2 comes second there.
    maps = torch.tensor(
        [
            [0.9, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.9, 0.1, 0.1, 0.1, 0.1],
            [0.0, 0.5, 0.9, 0.9, 0.9, 0.9],
        ]
    )[:, None]
    rule = Labelling(torch.tensor([1, 1, 1]), 10.0, background=0)
    assert rule.labels(DenseMaps(maps)).tolist() == [[0, 1, 2, 2, 2, 2]]
    filtered = Labelling(torch.tensor([1, 1, 1]), 10.0, background=0, min_area=0.2)  # 1 > 0.2 · 5 does not hold
    assert filtered.labels(DenseMaps(maps)).tolist() == [[0, 2, 2, 2, 2, 2]]
    just = Labelling(torch.tensor([1, 1, 1]), 10.0, background=0, min_area=0.19)
    assert just.labels(DenseMaps(maps)).tolist() == [[0, 1, 2, 2, 2, 2]]


def test_a_class_without_a_pixel_does_not_survive_the_area_filter():
    # As published: 0 > 0.3 · 5 does not hold, so the pixel of class 1 goes to class 2 and not to class 3.
    maps = torch.tensor(
        [
            [0.9, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.9, 0.1, 0.1, 0.1, 0.1],
            [0.0, 0.5, 0.9, 0.9, 0.9, 0.9],
            [0.0, 0.8, 0.0, 0.0, 0.0, 0.0],
        ]
    )[:, None]
    rule = Labelling(torch.tensor([1, 1, 1, 1]), 10.0, background=0, min_area=0.3)
    assert rule.labels(DenseMaps(maps)).tolist() == [[0, 2, 2, 2, 2, 2]]


def test_all_foreground_can_fall_to_the_background():
    maps = torch.tensor([[0.9, 0.1, 0.1], [0.0, 0.9, 0.2], [0.0, 0.2, 0.9]])[:, None]
    rule = Labelling(torch.tensor([1, 1, 1]), 10.0, background=0, min_area=0.5)
    assert rule.labels(DenseMaps(maps)).tolist() == [[0, 0, 0]]


@given(st.integers(2, 5), st.integers(0, 3))
def test_ties_go_to_the_lower_class(classes, first):
    assume(first < classes - 1)
    maps = torch.full((classes, 3, 4), 0.1)
    maps[first:] = 0.5
    rule = Labelling(torch.ones(classes, dtype=torch.long), 40.0)
    assert (rule.labels(DenseMaps(maps)) == first).all()


def test_a_query_in_two_classes_is_won_by_the_lower():
    shared = random_scores(1, 6, 7, seed=0)
    maps = torch.cat([shared, shared - 0.1, shared])  # classes: {shared, other}, {shared}
    rule = Labelling(torch.tensor([2, 1]), 40.0)
    assert (rule.labels(DenseMaps(maps)) == 0).all()
    first, second = rule.probabilities(DenseMaps(maps))
    assert torch.equal(first, second)


@pytest.mark.parametrize("between", [0, 1, 5, 12])
@pytest.mark.parametrize("size", [(9, 33), (40, 57), (100, 131)], ids=str)
@pytest.mark.filterwarnings("ignore:vocabulary inline")
def test_a_query_in_two_classes_is_won_by_the_lower_in_a_picture_too(size, between, build_segmentor, pictures):
    segmentor = build_segmentor(vocabulary=["bed", *(f"thing {index}" for index in range(between)), "bed"])
    picture = pictures(1, *size)
    segmentor.prepare()
    segmentor.text.features[[0, -1]] = segmentor.backbone(picture)[0].mean((1, 2))  # bed is what this picture shows
    [result] = segmentor.predict([picture[0]])
    labels = result.pred_sem_seg.data
    assert (labels == 0).any()
    assert not (labels == between + 1).any()


def test_the_threshold_is_strict():
    maps = DenseMaps(torch.zeros(4, 1, 1))  # every query, and so every class, has probability 1/4
    for threshold, label in ((0.25, 0), (0.26, 2)):
        rule = Labelling(torch.tensor([1, 2, 1]), 40.0, background=2, background_threshold=threshold)
        assert rule.labels(maps).item() == label


@pytest.mark.parametrize("offset", [-0.5, -3.0, -100.0])
def test_an_offset_of_all_queries_at_a_pixel_moves_no_label(offset):
    # A softmax does not see it. MaskCLIP's prompt denoising makes such pixels: all its queries at -100.
    maps = random_scores(4, 6, 8, seed=2)
    rule = Labelling(torch.tensor([1, 2, 1]), 40.0, background=0, background_threshold=0.9)
    lowered = maps.clone()
    lowered[:, :, 4:] += offset
    expected = plain_chain.class_probabilities(lowered.double(), [0, 1, 1, 2], 40.0)
    assert 0 < (expected.amax(0)[:, 4:] < 0.9).sum() < 24
    assert_labels(rule.labels(DenseMaps(lowered)), expected, 0.9)


@pytest.mark.parametrize("settings", [dict(), dict(background_threshold=0.3), dict(min_area=0.2)], ids=str)
def test_the_size_of_a_band_moves_no_label(settings, monkeypatch):
    sizes = [2, 1, 3, 1]
    generator = torch.Generator().manual_seed(3)
    lattice = 0.1 * torch.randn(7, 5, 6, generator=generator)
    rows, columns = (torch.rand(shape, generator=generator) ** 4 for shape in ((23, 5), (31, 6)))
    stitched = StitchedMaps(lattice, rows / rows.sum(1, True), columns / columns.sum(1, True))
    rule = Labelling(torch.tensor(sizes), 20.0, background=0, **settings)
    whole = [rule.labels(maps) for maps in (stitched, DenseMaps(stitched.dense()))]
    assert len(whole[0].unique()) > 1
    for size in (1, 4 * 7 * 31 * 3, 4 * 7 * 31 * 22):
        monkeypatch.setattr(scores_module, "BAND_BYTES", size)
        assert torch.equal(rule.labels(stitched), whole[0])
        assert torch.equal(rule.labels(DenseMaps(stitched.dense())), whole[1])


@pytest.mark.parametrize("size", [(40, 57), (32, 32), (20, 50)], ids=str)
@pytest.mark.parametrize(
    "window", [dict(crop=32, stride=16), dict(crop=None), dict(crop=28, padding="symmetric")], ids=str
)
def test_a_picture_gets_the_plain_chains_labels(window, size, build_segmentor, pictures):
    segmentor = build_segmentor(window=dict(stride=16, batch=4) | window, keep_scores=True, logit_scale=100.0)
    picture, label_size = pictures(1, *size)[0], (61, 47)
    sample = SegDataSample(metainfo=dict(ori_shape=label_size))
    [result] = segmentor.predict([picture], [sample])
    crop, padding = window["crop"], window.get("padding", "stretch")
    tiles = []
    with torch.no_grad():
        for top, left, bottom, right in plain_chain.mmseg_boxes(size, crop, 16):
            cut = picture[:, top:bottom, left:right]
            if padding == "symmetric":
                cut = torch.nn.functional.pad(cut, plain_chain.symmetric_margins(*cut.shape[1:], 8))
            features = torch.nn.functional.normalize(segmentor.backbone(cut[None]), dim=1)
            tiles.append(torch.einsum("ndhw,qd->nqhw", features, segmentor.text.features)[0].double())
    maps = plain_chain.stitched(torch.stack(tiles), size, crop, 16, 8, padding, label_size)
    expected = plain_chain.class_probabilities(maps, list(segmentor.vocabulary.owner), 100.0)
    torch.testing.assert_close(result.seg_logits.data.double(), expected, rtol=0, atol=1e-4)
    clear = gap(expected) > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(result.pred_sem_seg.data[0][clear], expected.argmax(0)[clear])


def test_scores_are_kept_only_if_asked(build_segmentor, pictures):
    image = list(pictures(2, 32, 40))
    results = {kept: build_segmentor(keep_scores=kept).predict(image) for kept in (False, True)}
    for without, given_scores in zip(results[False], results[True], strict=True):
        assert "seg_logits" not in without
        assert given_scores.seg_logits.data.shape == (4, 32, 40)
        assert given_scores.seg_logits.data.min() >= 0
        assert torch.equal(given_scores.seg_logits.data.argmax(0), given_scores.pred_sem_seg.data[0])
        assert torch.equal(without.pred_sem_seg.data, given_scores.pred_sem_seg.data)


def test_a_batch_of_pictures_of_any_sizes_is_one_by_one(build_segmentor, pictures):
    segmentor = build_segmentor(keep_scores=True, window=dict(crop=32, stride=16, batch=4))
    sizes = [(32, 32), (40, 70), (40, 70), (9, 33), (40, 70)]  # neighbours of one size share batches of windows
    shapes = [(30, 30), (90, 50), (40, 70), (12, 44), (21, 33)]
    inputs = [pictures(1, *size, seed=index)[0] for index, size in enumerate(sizes)]
    samples = [[SegDataSample(metainfo=dict(ori_shape=shape)) for shape in shapes] for _ in range(2)]
    together = segmentor.predict(inputs, samples[0])
    for picture, sample, result, shape in zip(inputs, samples[1], together, shapes, strict=True):
        [alone] = segmentor.predict([picture], [sample])
        assert result.pred_sem_seg.data.shape == (1, *shape)
        torch.testing.assert_close(result.seg_logits.data, alone.seg_logits.data, rtol=0, atol=1e-5)
        clear = gap(alone.seg_logits.data) > 1e-5
        assert torch.equal(result.pred_sem_seg.data[0][clear], alone.pred_sem_seg.data[0][clear])


def as_sample(prediction: Tensor, label: Tensor, index: int = 0) -> dict:
    sample = SegDataSample(metainfo=dict(img_path=f"{index}.jpg", seg_map_path=f"{index}.png", sample_idx=index))
    sample.pred_sem_seg, sample.gt_sem_seg = PixelData(data=prediction[None]), PixelData(data=label[None])
    return sample.to_dict()


def metric_over(classes: int) -> PooledIoU:
    metric = PooledIoU()
    metric.dataset_meta = dict(classes=[f"class {index}" for index in range(classes)])
    return metric


@given(st.integers(1, 6), st.integers(0, 99))
def test_confusion_is_the_double_loop(classes, seed):
    random = np.random.default_rng(seed)
    prediction = random.integers(0, classes, (7, 9))
    label = random.choice([*range(classes), 255], (7, 9)).astype(np.uint8)
    expected = np.zeros((classes, classes), np.int64)
    for row in range(7):
        for column in range(9):
            if label[row, column] != 255:
                expected[label[row, column], prediction[row, column]] += 1
    counts = confusion(torch.from_numpy(prediction), torch.from_numpy(label), classes)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, torch.from_numpy(expected))


@pytest.mark.parametrize("value", [3, 4, 200, 254])
def test_a_label_beyond_the_classes_is_named_with_its_file(value):
    label = torch.tensor([[0, 1], [2, value]], dtype=torch.uint8)
    assert confusion(torch.zeros(2, 2, dtype=torch.long), label, 3) is None
    with pytest.raises(InputError, match=rf"5\.png has the value {value} \(1 pixel\);"):
        metric_over(3).process({}, [as_sample(torch.zeros(2, 2, dtype=torch.long), label, index=5)])


def test_a_label_of_another_size_is_named():
    with pytest.raises(InputError, match=r"0\.png has \(2, 3\)"):
        metric_over(2).process({}, [as_sample(torch.zeros(2, 2), torch.zeros(2, 3))])


def test_means_of_hand_made_counts():
    prediction = torch.tensor([[0, 0, 1], [1, 1, 0]])
    label = torch.tensor([[0, 1, 1], [1, 255, 255]], dtype=torch.uint8)
    metric = metric_over(4)  # classes 2 and 3 occur nowhere
    metric.process({}, [as_sample(prediction, label, 0), as_sample(torch.tensor([[3]]), torch.tensor([[0]]), 1)])
    result = metric.evaluate(2)
    # class 0: 1 of {0: tp, fp of pixel 1, fn of the second picture}; class 1: 2 of 3; class 3: predicted once, 0 of 1
    assert metric.per_class["class 0"] == {"iou": pytest.approx(100 / 3), "acc": pytest.approx(50)}
    assert metric.per_class["class 1"] == {"iou": pytest.approx(200 / 3), "acc": pytest.approx(200 / 3)}
    assert metric.per_class["class 2"] == {"iou": None, "acc": None}
    assert metric.per_class["class 3"] == {"iou": 0, "acc": None}
    assert result["mIoU"] == pytest.approx(100 / 3)
    assert result["mAcc"] == pytest.approx((50 + 200 / 3) / 2)
    assert result["aAcc"] == pytest.approx(60)


def test_pixels_are_counted_exactly_beyond_what_fp32_holds():
    many = 2**24
    first = np.array([[many, 0], [many, 1], [many, 1]], np.int64)  # agreement, predicted, labelled
    second = np.array([[1, 0], [1, 0], [1, 0]], np.int64)
    metric = metric_over(2)
    metric.compute_metrics([first] + [second] * 3)
    assert metric.compute_metrics([first] + [second] * 3)["aAcc"] == 100 * (many + 3) / (many + 4)
