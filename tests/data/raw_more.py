"""The datasets beyond the nine in miniature, as they are downloaded or fetched by hand: two pictures of two classes.

The left half of a picture is its first class and the right half its second, but for two rows at its top that are
ignored where the dataset ignores anything. Paths, codes and colours are written by hand, from the datasets' own pages.
"""

import io
import json
from dataclasses import dataclass, field

import numpy as np
import tifffile
from packed import tarred, zipped
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH, BORDER = 32, 48, 2  # pixels
TILE = 20, 24  # of those that are cut without and with overlap: pixels a side


@dataclass(frozen=True)
class Raw:
    """How a dataset comes.

    `picture`, `label`: path of each below data/, or in its archive, `{}` being the name; `codes`: what stands in the
    label for the first and second class and for what is ignored (None where nothing is); `classes`: what those two are.
    `archives`: file name -> the paths that it holds begin with one of these; `put`: what `data/` has instead of it.
    """

    picture: str
    label: str
    codes: tuple
    classes: tuple[int, int]
    names: tuple[str, str] = ("one", "two")
    archives: dict[str, str] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    bits: int = 8
    ignore: int = 255


ISPRS = ((255, 255, 255), (255, 0, 0), (0, 0, 0))
ISPRS_TILES = ("2_13", "7_13")
RAW = {
    # SegEarth-OV's
    "loveda": Raw(
        "Val/Urban/images_png/{}.png", "Val/Urban/masks_png/{}.png", (1, 7, 0), (0, 6), archives={"Val.zip": ""}
    ),
    "potsdam": Raw(
        "potsdam/2_Ortho_RGB/top_potsdam_{}_RGB.tif",
        "potsdam/5_Labels_all_noBoundary/top_potsdam_{}_label_noBoundary.tif",
        *(ISPRS, (0, 5), ISPRS_TILES),
    ),
    "vaihingen": Raw(
        "vaihingen/top/top_mosaic_09cm_{}.tif",
        "vaihingen/labels/top_mosaic_09cm_{}_noBoundary.tif",
        *(ISPRS, (0, 5), ("area2", "area38")),
    ),
    "isaid": Raw(
        "isaid/val/images/{}.png",
        "isaid/val/masks/{}_instance_color_RGB.png",
        *(((0, 0, 0), (0, 100, 155), None), (0, 15), ("P0003", "P0004")),
    ),
    "openearthmap": Raw(
        "OpenEarthMap/OpenEarthMap_wo_xBD/aachen/images/{}.tif",
        "OpenEarthMap/OpenEarthMap_wo_xBD/aachen/labels/{}.tif",
        *((0, 8, None), (0, 8), ("aachen_1", "aachen_2")),
        archives={"OpenEarthMap.zip": ""},
        lists={"OpenEarthMap/OpenEarthMap_wo_xBD/val.txt": "aachen_1.tif\naachen_2.tif\n"},
    ),
    "udd5": Raw("udd5/val/src/{}.JPG", "udd5/val/gt/{}.png", (0, 4, None), (0, 4)),
    "vdd": Raw("vdd/test/src/{}.JPG", "vdd/test/gt/{}.png", (0, 6, None), (0, 6)),
    "uavid": Raw(
        "uavid/test/seq21/Images/{}.png",
        "uavid/test/seq21/Labels/{}.png",
        *(((0, 0, 0), (64, 0, 128), None), (0, 3), ("000000", "000100")),
    ),
    # large vocabularies
    "context459": Raw(
        "VOCdevkit/VOC2010/JPEGImages/{}.jpg",
        "trainval/{}.mat",
        *((1, 256, None), (0, 255), ("2008_000002", "2008_000003")),
        archives={"VOCtrainval_03-May-2010.tar": "VOCdevkit", "trainval.tar.gz": "trainval"},
        lists={"VOCdevkit/VOC2010/ImageSets/Main/val.txt": "2008_000002\n2008_000003\n"},
        ignore=65535,
    ),
    "ade847": Raw(
        "ADE20K_2021_17_01/images/ADE/validation/urban/street/{}.jpg",
        "ADE20K_2021_17_01/images/ADE/validation/urban/street/{}_seg.png",
        *(((110, 162, 9), (70, 65, 7), (0, 0, 0)), (0, 255), ("ADE_val_00000001", "ADE_val_00000002")),
        ignore=65535,
    ),
    "coco_panoptic": Raw(
        "val2017/{}.jpg",
        "panoptic_val2017/{}.png",
        *(((1, 1, 0), (0, 1, 1), (0, 0, 0)), (0, 132), ("000000000139", "000000000285")),
        archives={"val2017.zip": "val2017", "panoptic_annotations_trainval2017.zip": "panoptic_val2017"},
    ),
    # driving
    "bdd100k": Raw("bdd100k/images/10k/val/{}.jpg", "bdd100k/labels/sem_seg/masks/val/{}.png", (0, 18, 255), (0, 18)),
    "mapillary_v1": Raw(
        "mapillary/validation/images/{}.jpg", "mapillary/validation/v1.2/labels/{}.png", (0, 64, 65), (0, 64), ignore=65
    ),
    "mapillary_v2": Raw(
        *("mapillary/validation/images/{}.jpg", "mapillary/validation/v2.0/labels/{}.png", (0, 122, 123), (0, 122)),
        ignore=123,
    ),
    "dark_zurich": Raw(
        "rgb_anon/val/night/GOPR0356/{}_rgb_anon.png",
        "gt/val/night/GOPR0356/{}_gt_labelTrainIds.png",
        *((0, 18, 255), (0, 18), ("GOPR0356_frame_000321", "GOPR0356_frame_000324")),
        archives={"Dark_Zurich_val_anon.zip": ""},
    ),
    # MESS's
    "foodseg103": Raw(
        "foodseg103/Images/img_dir/test/{}.jpg", "foodseg103/Images/ann_dir/test/{}.png", (0, 103, None), (0, 103)
    ),
    "atlantis": Raw("atlantis/images/test/canal/{}.jpg", "atlantis/masks/test/canal/{}.png", (1, 56, 0), (0, 55)),
    "dram": Raw("dram/test/cubism/x/{}.jpg", "dram/labels/cubism/x/{}.png", (20, 3, 255), (11, 0)),
    "kvasir_instrument": Raw(
        "kvasir-instrument/images/{}.jpg",
        "kvasir-instrument/masks/{}.png",
        *(((0, 0, 0), (255, 255, 255), None), (0, 1)),
        archives={"kvasir-instrument.zip": ""},
        lists={"kvasir-instrument/test.txt": "one\ntwo\n"},
    ),
    "chase_db1": Raw(
        *("Image_{}.jpg", "Image_{}_1stHO.png", (0, 1, None), (0, 1), ("05L", "14R")),
        archives={"CHASEDB1.zip": ""},
        bits=1,
    ),
    "corrosion_cs": Raw(
        "Corrosion Condition State Classification/original/Test/images/{}.jpeg",
        "Corrosion Condition State Classification/original/Test/masks/{}.png",
        *((0, 3, None), (0, 3)),
        archives={"31729733": ""},
    ),
    "deepcrack": Raw("test_img/{}.jpg", "test_lab/{}.png", (0, 255, None), (0, 1), archives={"DeepCrack.zip": ""}),
    "pst900": Raw("pst900/test/thermal/{}.png", "pst900/test/labels/{}.png", (0, 4, None), (0, 4)),
    "zerowaste_f": Raw(
        "zerowaste-f/splits_final_deblurred/test/data/{}.PNG",
        "zerowaste-f/splits_final_deblurred/test/sem_seg/{}.PNG",
        *((0, 4, None), (0, 4)),
    ),
    "suim": Raw("suim/TEST/images/{}.jpg", "suim/TEST/masks/{}.bmp", ((0, 0, 0), (255, 255, 255), None), (0, 7)),
    "cwfid": Raw(
        "cwfid/images/{}_image.png",
        "cwfid/annotations/{}_annotation.png",
        *(((0, 0, 0), (0, 255, 0), None), (0, 2), ("001", "060")),
    ),
    "cryonuseg": Raw("cryonuseg/tissue images/{}.tif", "cryonuseg/mask binary/{}.png", (0, 255, None), (0, 1)),
    "floodnet": Raw(
        "floodnet/test/test-org-img/{}.jpg", "floodnet/test/test-label-img/{}_lab.png", (0, 3, None), (0, 3)
    ),
    "worldfloods": Raw("worldfloods/test/S2/{}.tif", "worldfloods/test/gt/{}.tif", (1, 2, 0), (0, 1)),
    "cub200": Raw(
        "CUB_200_2011/images/200.Common_Yellowthroat/{}.jpg",
        "segmentations/200.Common_Yellowthroat/{}.png",
        *((100, 255, None), (0, 200)),
        archives={"CUB_200_2011.tgz": "CUB_200_2011", "segmentations.tgz": "segmentations"},
        lists={
            "CUB_200_2011/images.txt": "".join(
                f"{number} 200.Common_Yellowthroat/{name}.jpg\n"
                for number, name in enumerate(("of_training", "one", "two"))
            ),
            "CUB_200_2011/train_test_split.txt": "0 1\n1 0\n2 0\n",
        },
    ),
    "mhp_v1": Raw(
        "mhp_v1/images/{}.jpg",
        "mhp_v1/annotations/{}_02_01.png",
        *((0, 18, None), (0, 18)),
        lists={"mhp_v1/test_list.txt": "one.jpg\ntwo.jpg\n"},
    ),
    **{
        f"paxray_{part}": Raw(
            "paxray_dataset/images_detectron2/test/{}.png",
            f"paxray_dataset/annotations_detectron2/test/{part}/{{}}.png",
            *((0, 1, None), (0, 1)),
        )
        for part in ("lungs", "mediastinum", "bones", "diaphragm")
    },
    "isaid_mess": Raw(
        "isaid/val/images/{}.png",
        "isaid/val/masks/{}_instance_color_RGB.png",
        *(((0, 0, 0), (0, 100, 155), None), (0, 15), ("P0003", "P0004")),
    ),
    "potsdam_mess": Raw(
        "potsdam/3_Ortho_IRRG/top_potsdam_{}_IRRG.tif",
        "potsdam/5_Labels_all/top_potsdam_{}_label.tif",
        *(((200, 10, 0), (0, 10, 250), None), (5, 1), ISPRS_TILES),
    ),
    "uavid_mess": Raw(
        *("uavid/uavid_val/seq16/Images/{}.png", "uavid/uavid_val/seq16/Labels/{}.png"),
        *(((0, 0, 0), (64, 64, 0), None), (0, 7), ("000000", "000100")),
    ),
}
ONE_OF_MANY = {"potsdam": 14, "potsdam_mess": 14, "vaihingen": 17, "chase_db1": 20, "cwfid": 21}  # that must be there


def truth(name: str) -> np.ndarray:
    """(H, W) of either picture: the classes as they are evaluated."""
    raw = RAW[name]
    labels = np.full((HEIGHT, WIDTH), raw.classes[1])
    labels[:, : WIDTH // 2] = raw.classes[0]
    if raw.codes[2] is not None:
        labels[:BORDER] = raw.ignore
    return labels


def files(name: str) -> dict[str, bytes]:
    """Path -> content of all that comes with a dataset."""
    raw, found = RAW[name], {}
    label = _coded(raw)
    for index, picture in enumerate(raw.names):
        pixels = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        found[raw.picture.format(picture)] = _picture(raw.picture, pixels, name)
        found[raw.label.format(picture)] = _label(raw, label)
    if name == "mhp_v1":  # the second person of each picture, whose hat is below the first one's skin
        hat = _encoded((label > 0).astype(np.uint8), raw.label)
        found |= {raw.label.format(picture).replace("_01.", "_02."): hat for picture in raw.names}
    return found | {path: text.encode() for path, text in raw.lists.items()}


def archives(name: str) -> dict[str, bytes]:
    """File name -> content of what is fetched for a dataset."""
    raw, own = RAW[name], files(name)
    if name == "coco_panoptic":
        return _panoptic(raw, own)
    if name == "kvasir_instrument":
        for folder in ("images", "masks"):
            inner = {path: own.pop(path) for path in [*own] if f"/{folder}/" in path}
            top = "kvasir-instrument/"
            own[f"{top}{folder}.tar.gz"] = tarred({path.removeprefix(top): inner[path] for path in inner}, "w:gz")
    made = {}
    for file, start in raw.archives.items():
        held = {path: content for path, content in own.items() if path.startswith(start)}
        packed = tarred(held, "w:gz" if file.endswith("gz") else "w") if ".t" in file else zipped(held)
        made[file] = packed
    return made


def _coded(raw: Raw) -> np.ndarray:
    """(H, W) or (H, W, 3): the codes of the truth."""
    codes = [np.asarray(code) for code in raw.codes if code is not None]
    label = np.zeros((HEIGHT, WIDTH, *codes[0].shape), np.int64)
    label[:, : WIDTH // 2], label[:, WIDTH // 2 :] = codes[0], codes[1]
    if len(codes) == 3:
        label[:BORDER] = codes[2]
    return label


def _picture(path: str, pixels: np.ndarray, name: str) -> bytes:
    if name == "worldfloods":  # thirteen bands, of which the 2nd, 4th and 8th are looked at
        deep = np.zeros((13, HEIGHT, WIDTH), np.uint16)
        for band, channel in ((8, 0), (4, 1), (2, 2)):
            deep[band - 1] = pixels[..., channel].astype(np.uint16) * 16
        file = io.BytesIO()
        tifffile.imwrite(file, deep, photometric="minisblack", planarconfig="separate")
        return file.getvalue()
    return _encoded(pixels, path)


def _label(raw: Raw, label: np.ndarray) -> bytes:
    if raw.label.endswith(".mat"):
        file = io.BytesIO()
        savemat(file, {"LabelMap": label.astype(np.uint16)})
        return file.getvalue()
    return _encoded(label.astype(bool) if raw.bits == 1 else label.astype(np.uint8), raw.label)


def _encoded(pixels: np.ndarray, path: str) -> bytes:
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "png": "PNG", "bmp": "BMP"}[path.rsplit(".", 1)[1].lower()]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _panoptic(raw: Raw, own: dict[str, bytes]) -> dict[str, bytes]:
    """Zip in zip: the segments' numbers 257 and 65792 are a person and a rug."""
    masks = {path: content for path, content in own.items() if path.startswith("panoptic")}
    segments = [{"id": 257, "category_id": 1}, {"id": 65792, "category_id": 200}]
    entries = [{"file_name": f"{name}.png", "segments_info": segments} for name in raw.names]
    inner = {
        "annotations/panoptic_val2017.zip": zipped(masks),
        "annotations/panoptic_val2017.json": json.dumps({"annotations": entries}).encode(),
    }
    pictures = {path: content for path, content in own.items() if path.startswith("val2017")}
    return {"val2017.zip": zipped(pictures), "panoptic_annotations_trainval2017.zip": zipped(inner)}
