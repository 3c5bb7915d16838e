"""From values to classes and back: the rule against mmseg's own loader and a plain loop, and the steps that use it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.datasets import ADE20KDataset, BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from own_config import write_config
from PIL import Image
from runs import result_of, run

from sclip_seg.data.datasets import FolderDataset, build_dataset
from sclip_seg.data.labels import LabelRule, as_picture, default_ignore
from sclip_seg.data.loading import LoadLabels
from sclip_seg.drawing import IGNORED, colourise, make_palette
from sclip_seg.errors import InputError
from sclip_seg.evaluate.metric import confusion


@st.composite
def rules(draw):
    """(rule, classes): the stored classes of a dataset, some of them chosen in another order, or all."""
    stored, zero = draw(st.integers(1, 400)), draw(st.booleans())
    ignore = draw(st.sampled_from([default_ignore(stored + zero), stored + zero, 1000, 65535]))
    if draw(st.booleans()):
        return LabelRule(zero, None, ignore), stored
    chosen = draw(st.lists(st.integers(0, stored - 1), min_size=1, max_size=12, unique=True))
    unchosen = draw(st.sampled_from([-1, 255]))
    label_map = {old: chosen.index(old) if old in chosen else unchosen for old in range(stored)}
    return LabelRule(zero, label_map, ignore), len(chosen)


def plainly(rule, value):
    """The class of a value, or "ignored", or "odd": the order of mmseg's pull request 2517 in words."""
    if value == rule.ignore or (rule.reduce_zero_label and value == 0):
        return "ignored"
    value -= rule.reduce_zero_label
    if rule.label_map is None:
        return value
    if value not in rule.label_map:
        return "odd"
    return "ignored" if rule.label_map[value] in (-1, 255) else rule.label_map[value]


@given(rules(), st.lists(st.integers(0, 65535), min_size=1, max_size=30), st.sampled_from([np.uint16, np.int64]))
def test_rule_is_the_plain_loop_and_its_inverse_brings_every_value_back(found, values, kind):
    rule, classes = found
    rule.check(classes)
    values = [*values, *range(420), 65534, 65535]
    got = rule.classes_of(np.array(values, kind))
    for value, c in zip(values, got, strict=True):
        expected = plainly(rule, value)
        if expected == "ignored":
            assert c == rule.ignore
        elif expected == "odd" or expected >= classes:
            assert c >= classes
            assert c != rule.ignore, "what is no class is not ignored in silence"
            assert rule.values_of(np.array([c])) == value
        else:
            assert c == expected
            assert rule.values_of(np.array([c])) == value
    assert np.array_equal(rule.classes_of(rule.values_of(np.arange(classes))), np.arange(classes))


@given(rules())
def test_8_bit_values_are_read_as_16_bit_ones(found):
    rule, _ = found
    values = np.arange(256)
    assert np.array_equal(rule.classes_of(values.astype(np.uint8)), rule.classes_of(values.astype(np.uint16)))


@given(st.lists(st.sampled_from(ADE20KDataset.METAINFO["classes"]), min_size=1, max_size=150, unique=True))
def test_chosen_classes_of_ade20k_are_those_of_mmseg(tmp_path_factory, chosen):
    """Against mmsegmentation's own loading, 8-bit values all, and the names that the values have there."""
    path = tmp_path_factory.mktemp("ade") / "a.png"
    values = np.array([[*range(151), 255]] * 2, np.uint8)  # mmseg squeezes a single row away
    Image.fromarray(values).save(path)
    dataset = ADE20KDataset(data_prefix={}, metainfo={"classes": tuple(chosen)}, lazy_init=True)
    item = {"seg_map_path": str(path), "label_map": dataset.label_map, "reduce_zero_label": True}
    theirs, ours = ({**item, "seg_fields": []} for _ in range(2))
    LoadAnnotations()._load_seg_map(theirs)
    TRANSFORMS.build({"type": "LoadLabels"})(ours)
    assert np.array_equal(ours["gt_seg_map"], theirs["gt_seg_map"])
    stored = LabelRule.of_dataset(dataset).values_of(np.arange(len(chosen)))
    assert [ADE20KDataset.METAINFO["classes"][value - 1] for value in stored] == chosen


@pytest.mark.parametrize(
    ("classes", "zero", "ignore"), [(255, False, 255), (256, False, 65535), (254, True, 255), (255, True, 65535)]
)
def test_ignored_value_is_no_class(tmp_path, classes, zero, ignore):
    words = [f"thing {index}" for index in range(classes)]
    last = classes - 1 + zero
    item = labelled(tmp_path, words, np.array([[0, 1, 254, 255, last, ignore]]), reduce_zero_label=zero)[0]
    expected = [ignore if zero and v == 0 else v if v == ignore else v - zero for v in (0, 1, 254, 255, last, ignore)]
    assert item["gt_seg_map"].tolist() == [expected]


def labelled(root, words, values, **keys):
    """A FolderDataset with one picture and its label, as it loads."""
    for folder, picture in (("pictures", Image.new("RGB", values.shape[::-1])), ("labels", as_picture(values))):
        (root / folder).mkdir(exist_ok=True)
        picture.save(root / folder / "a.png")
    folders = dict(data_root=str(root), pictures="pictures", labels="labels", picture_suffix=".png")
    return FolderDataset(**folders, vocabulary=words, pipeline=[LoadLabels()], **keys)


@pytest.mark.parametrize("ignore", [0, 1, 3, -1, 65536, 2.5, "255", True])
def test_ignored_value_that_cannot_be(tmp_path, ignore):
    with pytest.raises(InputError, match="ignore_index="):
        labelled(tmp_path, ["sky", "tree", "sea", "sand"], np.zeros((2, 2), np.uint8), ignore_index=ignore)


def test_ignored_value_that_a_dataset_does_not_hand_on():
    with pytest.raises(InputError, match="ignore_index=7 reaches no label map of ADE20KDataset"):
        LabelRule.of_dataset(ADE20KDataset(data_prefix={}, ignore_index=7, lazy_init=True))


def test_many_classes_of_a_class_of_ones_own_need_another_ignored_value():
    meta = {"classes": tuple(map(str, range(300)))}
    with pytest.raises(InputError, match="ignore_index=255 cannot be ignored"):
        LabelRule.of_dataset(BaseSegDataset(metainfo=meta, lazy_init=True))
    found = LabelRule.of_dataset(
        BaseSegDataset(metainfo=meta | {"ignore_index": 999}, ignore_index=999, lazy_init=True)
    )
    assert found.ignore == 999


@pytest.mark.parametrize(("classes", "message"), [(["flor"], "has no class 'flor'; did you mean floor"), ([5], "5")])
def test_a_class_that_is_not_there_is_refused(classes, message):
    config = dict(type="ADE20KDataset", data_prefix={}, metainfo=dict(classes=classes))
    with pytest.raises(InputError, match=message):
        build_dataset(config, lazy_init=True)


def test_a_class_chosen_twice_is_refused():
    dataset = ADE20KDataset(data_prefix={}, metainfo={"classes": ("sky", "floor", "sky")}, lazy_init=True)
    with pytest.raises(InputError, match="3 classes were chosen, of which 1 stand there twice"):
        LabelRule.of_dataset(dataset)


@given(st.integers(1, 900), st.integers(0, 99))
def test_confusion_with_any_ignored_value(classes, seed):
    random = np.random.default_rng(seed)
    ignore = default_ignore(classes)
    prediction = random.integers(0, classes, (5, 6))
    label = random.choice([*range(classes), ignore], (5, 6))
    counts = confusion(torch.from_numpy(prediction), torch.from_numpy(label), classes, ignore)
    for c in {*label.ravel()} - {ignore}:
        for p in {*prediction.ravel()}:
            assert counts[c, p] == ((label == c) & (prediction == p)).sum()
    assert counts.sum() == (label != ignore).sum()


def test_steps_on_labels_of_16_bits():
    labels = np.array([[0, 300, 846], [255, 65535, 7]], np.uint16)
    relabel = TRANSFORMS.build(dict(type="Relabel", mapping=[(300, 1), (7, 500)], empty=[65535]))
    assert relabel(dict(gt_seg_map=labels))["gt_seg_map"].tolist() == [[0, 1, 846], [255, 65535, 500]]
    empty = relabel(dict(gt_seg_map=np.full((2, 3), 65535, np.uint16), ignore_index=65535))
    assert empty["gt_seg_map"].tolist() == [[65535] * 3] * 2
    big = labels.repeat(8, axis=0).repeat(8, axis=1)
    crop = TRANSFORMS.build(dict(type="CentreCrop", size=16))
    found = crop(dict(img=np.zeros((16, 24, 3), np.uint8), gt_seg_map=big))["gt_seg_map"]
    assert np.array_equal(found, big[:, 4:20])


def test_colours_of_many_classes():
    palette = make_palette(847)
    assert len({tuple(colour) for colour in palette}) == 847
    assert make_palette(727) == palette[:727]
    assert len({tuple(colour) for colour in make_palette(5200)}) == 5200
    drawn = colourise(np.array([[5, 255], [846, 65535]], np.uint16), palette)
    assert drawn.tolist() == [[palette[5], palette[255]], [palette[846], list(IGNORED)]]
    assert colourise(np.array([[255]], np.uint8), palette).tolist() == [[palette[255]]]


def test_847_classes_from_16_bit_files_to_16_bit_files(tmp_path, monkeypatch, tiny, capsys):
    """The score counted again from what was written, value by value, class 255 and the ignored 65535 among them."""
    monkeypatch.chdir(tmp_path)
    words = [f"thing number {index}" for index in range(847)]
    config = write_config(tmp_path, f"type='FolderDataset', pictures='p', labels='l', vocabulary={words!r}", words)
    random = np.random.default_rng(0)
    values = (
        random.choice([0, 3, 254, 255, 256, 700, 846, 65535], (6, 8))
        .astype(np.uint16)
        .repeat(8, axis=0)
        .repeat(8, axis=1)
    )
    for folder, picture in (("p", random.integers(0, 256, (48, 64, 3)).astype(np.uint8)), ("l", values)):
        Path(folder).mkdir()
        Image.fromarray(picture).save(f"{folder}/a.png")
    assert run(config, "--work-dir", "run", "--out", "maps", "--show-dir", "drawn") == 0
    written = Image.open("maps/a.png")
    assert written.mode in ("I;16", "I")  # as pillow calls it, or called it
    found, kept = np.array(written), values != 65535
    ious = [
        np.sum((found == c) & (values == c)) / np.sum(kept & ((found == c) | (values == c)))
        for c in np.union1d(found[kept], values[kept])
    ]
    assert result_of("run")["miou"] == pytest.approx(100 * np.mean(ious))
    assert Path("drawn/a.png").is_file()


def test_chosen_classes_are_written_with_the_values_of_the_files(tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    prefix = "data_prefix=dict(img_path='p', seg_map_path='l')"
    chosen = ["floor", "sky"]  # 4 and 3 in the files
    kind = f"type='ADE20KDataset', img_suffix='.png', {prefix}, metainfo=dict(classes={chosen!r})"
    config = write_config(tmp_path, kind, chosen)
    for folder in "pl":
        Path(folder).mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)).save("p/a.png")
    values = np.tile(np.repeat(np.arange(8, dtype=np.uint8), 8), (48, 1))
    Image.fromarray(values).save("l/a.png")
    assert run(config, "--work-dir", "run", "--out", "maps") == 0
    found = np.array(Image.open("maps/a.png"))
    assert set(np.unique(found)) <= {3, 4}
    rows = result_of("run")["per_class"]
    for name, value in (("floor", 4), ("sky", 3)):
        assert rows[name]["acc"] == pytest.approx(100 * np.mean(found[values == value] == value))
