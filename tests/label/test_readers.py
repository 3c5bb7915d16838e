"""The formats of YOLO and Label Studio, and COCO's outlines, read back by libraries where these are installed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import classes, found, hard
from PIL import Image

from sclip_seg.label.clean import cleaned, regions
from sclip_seg.label.formats import format_of

MAPS = [cleaned(hard(9, (80, 60)), 6, 255), np.full((20, 30), 255), hard(10, (64, 48))]


def whole(form, kinds, records):
    return {place: b"".join(parts) for place, parts in form.whole(kinds, records).items()}


def test_yolo_by_ultralytics(tmp_path, monkeypatch):
    """Its dataset finds every region, with its class and its corners."""
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    pytest.importorskip("ultralytics", reason="no extra of ours: pip install ultralytics")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    kinds, form = classes(5, 0), format_of("yolo", False, False)
    (tmp_path / "images").mkdir()
    for index, labels in enumerate(MAPS):
        Image.new("RGB", labels.shape[::-1]).save(tmp_path / f"images/p{index}.jpg")
        for place, content in form.files(found(labels, kinds, f"p{index}")).items():
            (tmp_path / place).parent.mkdir(exist_ok=True)
            (tmp_path / place).write_bytes(content)
    (tmp_path / "data.yaml").write_bytes(whole(form, kinds, [])["data.yaml"])
    data = check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)
    assert data["names"] == {index: f"c{index + 1}" for index in range(4)}
    read = YOLODataset(img_path=data["train"], data=data, task="segment", augment=False)
    entries = {Path(entry["im_file"]).stem: entry for entry in read.labels}
    assert {*entries} == {f"p{index}" for index in range(len(MAPS))}
    for index, labels in enumerate(MAPS):
        entry, expected = entries[f"p{index}"], list(regions(labels, (0, 255)))
        assert entry["shape"] == labels.shape
        assert len(entry["segments"]) == len(entry["cls"]) == len(expected)
        for segment, kind, region in zip(entry["segments"], entry["cls"].ravel(), expected, strict=True):
            assert int(kind) + 1 == region.label
            finer = np.zeros((labels.shape[0] * 8, labels.shape[1] * 8), np.uint8)
            cv2.fillPoly(finer, [np.rint(segment * labels.shape[::-1] * 8).astype(int)], 1)
            np.testing.assert_array_equal(finer[4::8, 4::8], region.whole(labels.shape))


def test_label_studio_by_its_own_decoder():
    """Each region's brush, and its label."""
    brush = pytest.importorskip(
        "label_studio_sdk.converter.brush", reason="no extra of ours: pip install label-studio-sdk"
    )
    kinds, form = classes(), format_of("labelstudio", False, False)
    records = [form.record(found(labels, kinds, f"p{index}")) for index, labels in enumerate(MAPS)]
    tasks = json.loads(whole(form, kinds, records)["tasks.json"])
    for task, labels in zip(tasks, MAPS, strict=True):
        built = np.full(labels.shape, 255)
        for entry in task["predictions"][0]["result"]:
            shape = entry["original_height"], entry["original_width"], 4
            mask = np.reshape(brush.decode_rle(entry["value"]["rle"]), shape)[..., 3] == 255
            assert (built[mask] == 255).all()
            built[mask] = int(entry["value"]["brushlabels"][0].removeprefix("c"))
        np.testing.assert_array_equal(built, labels)


def test_label_studios_polygons_by_its_converter(tmp_path):
    """Accepted by an annotator, and exported as COCO's JSON."""
    converter = pytest.importorskip(
        "label_studio_sdk.converter", reason="no extra of ours: pip install label-studio-sdk"
    )
    from pycocotools.coco import COCO

    kinds, form = classes(), format_of("labelstudio", True, False)
    tasks = [form.record(found(labels, kinds, f"p{index}")) for index, labels in enumerate(MAPS)]
    for number, task in enumerate(tasks):
        task |= {"id": number, "annotations": [{"id": number, "completed_by": 1, **task.pop("predictions")[0]}]}
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    names = "".join(f'<Label value="{name}"/>' for name in kinds.names)
    view = f'<Image name="image" value="$image"/><PolygonLabels name="tag" toName="image">{names}</PolygonLabels>'
    reader = converter.Converter(f"<View>{view}</View>", str(tmp_path), download_resources=False)
    reader.convert_to_coco(str(tmp_path / "tasks.json"), str(tmp_path / "coco"), is_dir=False)
    coco = COCO(str(tmp_path / "coco/result.json"))
    assert len(coco.imgs) == len(MAPS)
    for image, labels in enumerate(MAPS):
        built = np.full(labels.shape, 255)
        for annotation in coco.loadAnns(coco.getAnnIds(image)):
            mask = coco.annToMask(annotation) == 1
            assert (built[mask] == 255).all()
            assert round(annotation["area"]) == mask.sum()
            built[mask] = int(coco.cats[annotation["category_id"]]["name"].removeprefix("c"))
        np.testing.assert_array_equal(built, labels)


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_by_datumaro(polygons, tmp_path):
    datumaro = pytest.importorskip("datumaro", reason="no extra of ours: pip install datumaro")
    kinds, form = classes(5, 0), format_of("coco", polygons, False)
    (tmp_path / "images").mkdir()
    for index, labels in enumerate(MAPS):
        Image.new("RGB", labels.shape[::-1]).save(tmp_path / f"images/p{index}.jpg")
    records = [form.record(found(labels, kinds, f"p{index}")) for index, labels in enumerate(MAPS)]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_default.json").write_bytes(whole(form, kinds, records)["annotations.json"])
    read = datumaro.Dataset.import_from(str(tmp_path), "coco_instances")
    items = {Path(item.id).stem: item for item in read}
    assert {*items} == {f"p{index}" for index in range(len(MAPS))}
    for index, labels in enumerate(MAPS):
        built = np.zeros(labels.shape, int)
        shapes = [one for one in items[f"p{index}"].annotations if one.type != datumaro.AnnotationType.bbox]
        for annotation in shapes:
            mask = mask_of(annotation, labels.shape)
            assert (built[mask] == 0).all()
            built[mask] = int(read.categories()[datumaro.AnnotationType.label][annotation.label].name.removeprefix("c"))
        np.testing.assert_array_equal(built, np.where(labels == 255, 0, labels))


def mask_of(annotation, shape):
    """Of datumaro's polygons and run lengths."""
    from datumaro.util.mask_tools import rles_to_mask

    if hasattr(annotation, "image"):
        return np.asarray(annotation.image, bool)
    return rles_to_mask([annotation.points], *shape[::-1]).astype(bool)
