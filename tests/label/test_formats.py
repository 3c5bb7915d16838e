"""Each format read back, by its own library where it is installed, and held against the label map."""

import json
from io import BytesIO

import cv2
import numpy as np
import pytest
from made import classes, found, hard
from PIL import Image

from sclip_seg.data.label_files import read_labels
from sclip_seg.label.clean import cleaned, regions
from sclip_seg.label.formats import format_of
from sclip_seg.label.found import label_map
from sclip_seg.label.labelstudio import brush
from sclip_seg.label.polygons import polygon


def whole(form, kinds, records):
    return {place: b"".join(parts) for place, parts in form.whole(kinds, records).items()}


@pytest.mark.parametrize("count", [5, 255, 256, 300])
def test_png_by_pillow(count, tmp_path):
    kinds = classes(count)
    labels = hard(0)
    labels[labels == 255] = kinds.ignore
    labels[0, 0] = count - 1
    (content,) = format_of("png", False, False).files(found(labels, kinds)).values()
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_labels(str(tmp_path / "a.png")), labels)
    picture = Image.open(BytesIO(content))
    assert picture.mode == ("P" if count < 256 else "I;16")
    if count < 256:
        assert picture.getpalette()[: 3 * count] == [value for colour in kinds.palette for value in colour]


def test_npz_by_numpy():
    (content,) = format_of("npz", False, False).files(found(hard(1), classes())).values()
    arrays = np.load(BytesIO(content))
    np.testing.assert_array_equal(arrays["labels"], hard(1))
    assert arrays["classes"].tolist() == [f"c{index}" for index in range(5)]


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("background", [None, 0])
def test_coco_by_pycocotools(polygons, background, tmp_path):
    pytest.importorskip("pycocotools", reason="COCO's format needs pycocotools: pip install .[label]")
    from pycocotools.coco import COCO

    kinds, form = classes(5, background), format_of("coco", polygons, False)
    maps = [hard(2), np.full((9, 7), 255), hard(3, (1, 1)), hard(4, (64, 3))]
    records = [form.record(found(labels, kinds, f"p{place}")) for place, labels in enumerate(maps)]
    (tmp_path / "a.json").write_bytes(whole(form, kinds, records)["annotations.json"])
    coco = COCO(str(tmp_path / "a.json"))
    assert "no instance" in coco.dataset["info"]["description"]
    assert [kind["name"] for kind in coco.dataset["categories"]] == [kinds.names[index] for index in kinds.things]
    for image, labels in enumerate(maps, 1):
        built = np.full(labels.shape, 255)
        for annotation in coco.loadAnns(coco.getAnnIds(image)):
            mask = coco.annToMask(annotation).astype(bool)
            assert mask.sum() == annotation["area"]
            assert (built[mask] == 255).all()
            built[mask] = annotation["category_id"] - (background is None)
            assert annotation["score"] == 0.5
        np.testing.assert_array_equal(built, np.where(labels == background, 255, labels))


def test_yolo_lines_are_the_label_map_but_for_edges():
    kinds = classes(5, 0)
    labels = hard(5, (80, 60))
    files = format_of("yolo", False, False).files(found(labels, kinds, "x/y"))
    lines = files["labels/x/y.txt"].decode().splitlines()
    assert len(lines) == len(list(regions(labels, (0, 255))))
    for line, region in zip(lines, regions(labels, (0, 255)), strict=True):
        number, *shares = line.split()
        assert int(number) + 1 == region.label
        corners = np.array(shares, float).reshape(-1, 2) * (60, 80)
        middles = np.zeros((80 * 8, 60 * 8), np.uint8)
        cv2.fillPoly(middles, [np.rint(corners * 8).astype(int)], 1)
        np.testing.assert_array_equal(middles[4::8, 4::8], region.whole(labels.shape))
    (text,) = whole(format_of("yolo", False, False), kinds, []).values()
    assert 'names:\n  0: "c1"\n' in text.decode()
    nothing = format_of("yolo", False, False).files(found(np.zeros((4, 4)), kinds))
    assert nothing == {"labels/a.txt": b""}


def unpacked(data):
    """Label Studio's run lengths as its documentation gives them, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, width = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        is_run, count = take(1), take(widths[take(2)]) + 1
        values += [take(width)] * count if is_run else [take(width) for _ in range(count)]
    return np.array(values)


def test_label_studios_brush():
    for mask in (*(region.whole((37, 53)) for region in regions(hard(6))), np.ones((300, 200), np.uint8)):
        values = unpacked(brush(mask)).reshape(*mask.shape, 4)
        np.testing.assert_array_equal(values, 255 * mask[..., None].repeat(4, 2))


@pytest.mark.parametrize("polygons", [False, True])
def test_label_studios_tasks(polygons):
    kinds, form = classes(), format_of("labelstudio", polygons, False)
    records = [form.record(found(hard(7), kinds)), form.record(found(np.full((3, 3), 255), kinds))]
    first, second = json.loads(whole(form, kinds, records)["tasks.json"])
    kind = "polygonlabels" if polygons else "brushlabels"
    results = first["predictions"][0]["result"]
    assert [entry["value"][kind] for entry in results] == [[f"c{region.label}"] for region in regions(hard(7), (255,))]
    assert {(entry["type"], entry["original_width"], entry["original_height"]) for entry in results} == {(kind, 53, 37)}
    assert second["predictions"][0]["result"] == []


def test_label_studios_polygons_are_the_label_map():
    """Filled by pycocotools, which the format's own converter hands them to (test_readers.py)."""
    masks = pytest.importorskip("pycocotools.mask", reason="pip install .[label]")
    labels = hard(7)
    task = format_of("labelstudio", True, False).record(found(labels, classes()))
    built = np.full(labels.shape, 255)
    for entry in task["predictions"][0]["result"]:
        corners = np.array(entry["value"]["points"]) / 100 * labels.shape[::-1]
        mask = masks.decode(masks.frPyObjects([corners.ravel().tolist()], *labels.shape))[..., 0] == 1
        assert (built[mask] == 255).all()
        built[mask] = int(entry["value"]["polygonlabels"][0].removeprefix("c"))
    np.testing.assert_array_equal(built, labels)


def test_a_polygon_of_a_pixel_and_of_a_ring():
    (pixel,) = regions(np.array([[9, 1], [9, 9]]), (9,))
    assert sorted(polygon(pixel).tolist()) == [[1, 0], [1, 1], [2, 0], [2, 1]]
    ring = np.ones((3, 3), int)
    ring[1, 1] = 9
    (region,) = regions(ring, (9,))
    assert len(polygon(region)) == 4 + 1 + 5


def test_cleaned_of_specks_and_holes():
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = 1
    expected = labels.copy()
    labels[8:10, 8:10], labels[2, 2], labels[0, 0] = 0, 2, 255
    expected[0, 0] = 255
    np.testing.assert_array_equal(cleaned(labels, 5, 255), expected)
    np.testing.assert_array_equal(cleaned(labels, 1, 255), labels)
    least = [int(region.mask.sum()) for region in regions(cleaned(hard(8), 6, 255), (255,))]
    assert sum(size < 6 for size in least) <= 2  # those that only ignored pixels surround


def test_unsure_pixels_are_ignored():
    labels, best = np.array([[0, 1], [2, 3]]), np.array([[0.2, 0.3], [0.4, 0.1]], np.float32)
    assert label_map(labels, best, classes(), 0.3, 0).tolist() == [[255, 1], [2, 255]]
    assert label_map(labels, best, classes(300), 0.3, 0).tolist() == [[65535, 1], [2, 65535]]
