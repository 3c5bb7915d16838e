"""The nine benchmarks in miniature, as they are downloaded: before any conversion, with what else lies in there."""

import io
import json
from pathlib import Path

import numpy as np
from packed import tarred, zipped
from PIL import Image
from pycocotools.mask import encode
from scipy.io import savemat

SIZE = 40, 56  # pixels, height by width
COUNT = 2
# Values in the label files as downloaded, and what a run shall read; by hand, from the benchmarks' lists of classes.
VALUES = {
    "voc21": {0: 0, 1: 1, 20: 20, 255: 255},
    "voc20": {0: 0, 1: 1, 20: 20, 255: 255},
    "context60": {0: 0, 2: 1, 9: 2, 18: 3, 458: 59},
    "context59": {0: 0, 2: 1, 9: 2, 18: 3, 458: 59},
    "coco_stuff164k": {0: 0, 10: 10, 12: 11, 24: 23, 26: 24, 89: 79, 91: 80, 181: 170, 255: 255},
    "coco_object": {0: 1, 10: 11, 12: 12, 24: 24, 26: 25, 89: 80, 91: 0, 181: 0, 255: 0},
    "coco_stuff10k": {0: 0, 1: 1, 11: 11, 13: 12, 25: 24, 27: 25, 90: 80, 92: 81, 182: 171},
    "cityscapes": {0: 255, 4: 255, 7: 0, 8: 1, 9: 255, 11: 2, 18: 255, 26: 13, 31: 16, 33: 18},
    "ade20k": {0: 0, 1: 1, 150: 150},
}
ARCHIVES = {
    "voc": "VOCtrainval_11-May-2012.tar",
    "context": "VOCtrainval_03-May-2010.tar",
    "pictures": "val2017.zip",
    "maps": "stuffthingmaps_trainval2017.zip",
    "ten": "cocostuff-10k-v1.1.zip",
    "ade": "ADEChallengeData2016.zip",
}


def raw_labels(name: str, index: int) -> np.ndarray:
    """(H, W) int64 label map of picture `index`, in the values of the download."""
    values = [*VALUES[name]]
    return np.resize(np.roll(values, index), SIZE).repeat(2, 0)[: SIZE[0]]


def read_labels(name: str, index: int) -> np.ndarray:
    """The same in the values that a run shall read."""
    return np.vectorize(VALUES[name].get)(raw_labels(name, index))


def make_archives() -> dict[str, bytes]:
    """File name -> content of every archive that is fetched without a login."""
    return {
        ARCHIVES["voc"]: tarred(_voc("VOCdevkit/VOC2012", "voc21", "2007_"), "w"),
        ARCHIVES["context"]: tarred(_voc("VOCdevkit/VOC2010", None, "2008_"), "w"),
        ARCHIVES["pictures"]: zipped({f"val2017/{i:012d}.jpg": picture(i) for i in range(COUNT)}),
        ARCHIVES["maps"]: zipped(
            {f"train2017/{9:012d}.png": png(raw_labels("coco_stuff164k", 0))}
            | {f"val2017/{i:012d}.png": png(raw_labels("coco_stuff164k", i)) for i in range(COUNT)}
        ),
        ARCHIVES["ten"]: zipped(_stuff10k()),
        ARCHIVES["ade"]: zipped(_ade()),
    }


def make_by_hand(name: str, data: Path) -> None:
    """What a person fetches: Cityscapes after a login, the annotations of PASCAL Context."""
    if name == "cityscapes":
        for i in range(COUNT):
            stem = f"lindau/lindau_{i:06d}_000019"
            labels = raw_labels(name, i)
            _write(data / f"cityscapes/leftImg8bit/val/{stem}_leftImg8bit.png", png(np.zeros((*SIZE, 3))))
            for kind in ("labelIds", "instanceIds"):
                _write(data / f"cityscapes/gtFine/val/{stem}_gtFine_{kind}.png", png(labels))
            _write(data / f"cityscapes/gtFine/val/{stem}_gtFine_color.png", png(np.zeros((*SIZE, 3))))
            _write(data / f"cityscapes/gtFine/val/{stem}_gtFine_polygons.json", b"{}")
    if name.startswith("context"):
        masks = {2008000000 + i: raw_labels(name, i) for i in range(COUNT)}
        _write(data / "VOCdevkit/VOC2010/trainval_merged.json", json.dumps(detail(masks)).encode())


def detail(masks: dict[int, np.ndarray]) -> dict:
    """Annotations as PASCAL in Detail has them: a segment a category, in COCO's run lengths, none for what is 0."""
    pictures, segments = [], []
    for number, mask in masks.items():
        name = f"{str(number)[:4]}_{str(number)[4:]}.jpg"
        height, width = mask.shape
        pictures.append({"image_id": number, "file_name": name, "phase": "val", "height": height, "width": width})
        for category in np.unique(mask[mask > 0]).tolist():
            runs = encode(np.asfortranarray(mask == category).astype(np.uint8))
            runs["counts"] = runs["counts"].decode()
            segments.append({"id": len(segments), "image_id": number, "category_id": category, "segmentation": runs})
    return {"images": pictures, "annos_segmentation": segments}


def picture(seed: int) -> bytes:
    """A JPEG of noise."""
    return _encoded(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)), "JPEG")


def png(pixels: np.ndarray) -> bytes:
    """A PNG of 8 bits."""
    return _encoded(pixels, "PNG")


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, kind)
    return file.getvalue()


def _voc(root: str, labelled: str | None, prefix: str) -> dict[str, bytes]:
    names = [f"{prefix}{i:06d}" for i in range(COUNT)]
    files = {f"{root}/JPEGImages/{name}.jpg": picture(i) for i, name in enumerate(names)}
    files[f"{root}/JPEGImages/{prefix}000099.jpg"] = picture(99)  # of the training split
    files[f"{root}/Annotations/{names[0]}.xml"] = b"<annotation/>"
    if labelled:
        files |= {f"{root}/SegmentationClass/{n}.png": png(raw_labels(labelled, i)) for i, n in enumerate(names)}
        files[f"{root}/ImageSets/Segmentation/val.txt"] = "".join(f"{name}\n" for name in names).encode()
    return files


def _stuff10k() -> dict[str, bytes]:
    names = [f"COCO_train2014_{i:012d}" for i in range(COUNT + 1)]  # the last one is of the training split
    files = {"cocostuff-labels.txt": b"0: unlabeled\n", "imageLists/train.txt": names[-1].encode()}
    files["imageLists/test.txt"] = "".join(f"{name}\n" for name in reversed(names[:-1])).encode()
    for i, name in enumerate(names):
        file = io.BytesIO()
        savemat(file, {"S": raw_labels("coco_stuff10k", i).astype(np.uint16), "names": ["unlabeled"]})
        files |= {f"images/{name}.jpg": picture(i), f"annotations/{name}.mat": file.getvalue()}
    return files


def _ade() -> dict[str, bytes]:
    root = "ADEChallengeData2016"
    files = {f"{root}/objectInfo150.txt": b"Idx\n", f"{root}/images/training/ADE_train_00000001.jpg": picture(9)}
    for i in range(COUNT):
        files[f"{root}/images/validation/ADE_val_{i:08d}.jpg"] = picture(i)
        files[f"{root}/annotations/validation/ADE_val_{i:08d}.png"] = png(raw_labels("ade20k", i))
    return files


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
