"""Every dataset beyond the nine from its download to a score: fetched, converted, verified, read, scored."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from odd_server import Site, serve
from raw_more import BORDER, HEIGHT, ONE_OF_MANY, RAW, WIDTH, archives, files, truth
from runs import ROOT, cell
from trees import CONFIGS

from sclip_seg.data.prepare import catalogue
from sclip_seg.data.prepare import command as tool
from sclip_seg.data.prepare.tiles import Tiles
from sclip_seg.data.prepare.verify import verify
from sclip_seg.errors import InputError
from sclip_seg.evaluate.metric import PooledIoU
from sclip_seg.words.vocabulary import Vocabulary

PIPELINE = [dict(type="mmseg.LoadPicture"), dict(type="mmseg.LoadLabels")]
# Where tiles begin in pictures of 32 x 48, by hand: (rows, columns) and the tiles' sides, smaller ones than published.
OVERLAP = ((0, 8), (0, 16, 24), 24)  # begin every 16 pixels, the last ones moved back
SHIFTED = ((0, 12), (0, 20, 28), 20)  # begin every 20 pixels, the last ones moved back
PADDED = ((0, 20), (0, 20, 40), 20)  # begin every 20 pixels, the last ones filled up
TILES = {
    "isaid": OVERLAP,
    **dict.fromkeys(("potsdam", "vaihingen", "uavid"), SHIFTED),
    **dict.fromkeys(("isaid_mess", "potsdam_mess", "uavid_mess", "floodnet", "worldfloods"), PADDED),
}
# The IoU of the second class where every pixel is given it: its share of the columns of all tiles, or of the picture.
SECOND = {OVERLAP: 100 * (16 + 24) / 72, SHIFTED: 100 * (16 + 20) / 60, PADDED: 50.0, None: 50.0}


@pytest.fixture(scope="module")
def site():
    packed = {file: content for name in RAW if RAW[name].archives for file, content in archives(name).items()}
    with serve(Site(packed)) as site:
        yield site


@pytest.fixture(scope="module")
def all_facts():
    return catalogue.load_facts(catalogue.FOLDER)


@pytest.fixture
def facts(all_facts, site, tmp_path, monkeypatch):
    """The catalogue with the server in the place of all addresses, small tiles, and two pictures of those it lists."""
    monkeypatch.chdir(tmp_path)
    facts = deepcopy(all_facts)
    for archive in facts["archives"].values():
        if "url" in archive:
            archive["url"] = site.url(Path(archive["url"]).name)
        archive.pop("checksum", None)
        archive["gigabytes"] = [0, 0]
    for name, layout in TILES.items():
        side = layout[2]
        facts["benchmarks"][name]["convert"]["tiles"] |= dict(
            size=[side] * 2, stride=[16 if layout is OVERLAP else side] * 2
        )
    for name, count in ONE_OF_MANY.items():
        only = facts["benchmarks"][name]["convert"]["only"]
        ((key, values),) = only.items()
        assert (len(values), values[0], values[-1]) == (count, *RAW[name].names)
        only[key] = list(RAW[name].names)
    monkeypatch.setattr(catalogue, "load_facts", lambda _: facts)
    return facts


def build(name):
    dataset = Config.fromfile(CONFIGS / f"{name}.py").dataset.to_dict()
    return DATASETS.build({**dataset, "pipeline": PIPELINE, "test_mode": True})


def cut(labels, layout):
    """Its tiles, as bytes, in the order of their bytes."""
    rows, columns, side = layout
    tiles = []
    for top in rows:
        for left in columns:
            tile = np.full((side, side), 255)
            piece = labels[top : top + side, left : left + side]
            tile[: piece.shape[0], : piece.shape[1]] = piece
            tiles.append(tile)
    return tiles


def score(dataset, predictions):
    metric = PooledIoU()
    metric.dataset_meta = dataset.metainfo
    for index, (item, prediction) in enumerate(zip(dataset, predictions, strict=True)):
        sample = dict(sample_idx=index, img_path=item["img_path"], seg_map_path=item["seg_map_path"])
        for key, labels in (("gt_sem_seg", item["gt_seg_map"]), ("pred_sem_seg", prediction)):
            sample[key] = {"data": torch.from_numpy(labels.astype(np.int64))[None]}
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))


@pytest.mark.parametrize("name", RAW)
def test_from_download_to_score(name, facts, capsys):
    raw = RAW[name]
    if not raw.archives:
        for path, content in files(name).items():
            Path("data", path).parent.mkdir(parents=True, exist_ok=True)
            Path("data", path).write_bytes(content)
    assert tool.main(["download", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"terms: {facts['benchmarks'][name]['terms']}")
    assert ("\nsize: not told\n" in printed) == bool(raw.archives)
    assert "by hand" not in printed, "what the catalogue waits for is what this tree has"
    converts = "convert" in facts["benchmarks"][name]
    assert printed.endswith(f"then: sclip-seg prepare {'convert' if converts else 'verify'} {name}\n")
    assert tool.main(["convert", name]) == 0
    layout = TILES.get(name)
    findings = verify(catalogue.load_dataset(CONFIGS, name, Path("data")))
    assert (findings.faults, findings.looked_at) == ([], 2 if layout is None else 2 * len(layout[0]) * len(layout[1]))

    dataset = build(name)
    expected = [truth(name)] * 2 if layout is None else cut(truth(name), layout) * 2
    labels = [item["gt_seg_map"] for item in dataset]
    assert sorted(map(np.ndarray.tolist, labels)) == sorted(map(np.ndarray.tolist, expected))
    for item in dataset:
        assert item["img"].shape == (*item["gt_seg_map"].shape, 3)

    first, second = raw.classes
    settings = Config.fromfile(CONFIGS / f"{name}.py").settings
    Vocabulary.load(settings.vocabulary).check(dataset.metainfo["classes"])
    oracle = [np.where(label == raw.ignore, second, label) for label in labels]
    perfect, mistaken = score(dataset, oracle), score(dataset, [np.full_like(label, second) for label in labels])
    assert (perfect["mIoU"], perfect["aAcc"]) == (100, 100)
    assert mistaken["mIoU"] == pytest.approx(SECOND[layout] / 2)
    interest = dataset.metainfo.get("classes_of_interest")
    if interest is None:
        assert "CoI-mIoU" not in mistaken
    else:
        assert second in interest
        assert perfect["CoI-mIoU"] == 100
        assert mistaken["CoI-mIoU"] == pytest.approx(SECOND[layout] / (2 if first in interest else 1))
    if name not in ("atlantis", "bdd100k", "dark_zurich"):
        assert (settings.background is None) == (interest is None and "background_threshold" not in settings)


@pytest.mark.parametrize(
    ("name", "background", "threshold"),
    [
        *(("loveda", 0, 0.3), ("potsdam", 5, 0.1), ("vaihingen", 5, 0.1), ("isaid", 0, 0.4)),
        *(("openearthmap", 0, 0.1), ("udd5", 4, 0.4), ("vdd", 0, 0.3), ("uavid", 0, 0.3)),
    ],
)
def test_remote_sensing_goes_by_segearths_protocol(name, background, threshold):
    """As its configs say; a method whose scores are no cosines keeps its own scale."""
    model = cell("clearclip", name).model
    assert (model.background, model.background_threshold, model.logit_scale) == (background, threshold, 50)
    assert (model.short_side, model.long_side, model.window.crop, model.window.stride) == (448, 448, 224, 112)
    assert model.window.padding == "symmetric", "the method's own"
    own = cell("lposs", name).model
    assert (own.logit_scale, own.background_threshold, own.short_side) == (1, threshold, 448)


# Sides in pixels of Vaihingen's seventeen pictures, height and width in either order: the tiles are squares.
VAIHINGEN = [(1887, 2557)] * 4 + [(1903, 2546)] * 2 + [(1919, 2565)] * 2
VAIHINGEN += [(2805, 1884), (2428, 2767), (1866, 2315), (1980, 2555), (1581, 2555), (1917, 3313), (3816, 2550)]
VAIHINGEN += [(1922, 2575), (1917, 2563)]


def test_tiles_are_as_many_as_published(all_facts):
    """SegEarth-OV's 2016 of Potsdam and 398 of Vaihingen; of UAVid two rows by four, of MESS's Potsdam six by six."""

    def tiles(name, sizes):
        rule = all_facts["benchmarks"][name]["convert"]["tiles"]
        cut = Tiles(**{key: tuple(value) if key != "edge" else value for key, value in rule.items()})
        return [list(cut.places(*size)) for size in sizes]

    assert sum(map(len, tiles("potsdam", [(6000, 6000)] * 14))) == 2016
    assert sum(map(len, tiles("vaihingen", VAIHINGEN))) == 398
    assert len(tiles("potsdam_mess", [(6000, 6000)])[0]) == 36
    ((*_, last),) = tiles("uavid", [(2160, 3840)])
    assert last == dict(top=880, bottom=2160, left=2760, right=3840, index=7)
    ((first, *_, last),) = tiles("isaid", [(896, 3000)])
    assert (first["left"], last["left"], last["top"], last["index"]) == (0, 2104, 0, 5)


def test_three_of_many_bands_become_colours(facts):
    """WorldFloods: near infrared, red and blue, each as its share of the published white."""
    for path, content in files("worldfloods").items():
        Path("data", path).parent.mkdir(parents=True, exist_ok=True)
        Path("data", path).write_bytes(content)
    assert tool.main(["convert", "worldfloods"]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)) * 16
    white = np.array([6482.44153743, 6230.68257493, 6552.17046597])
    expected = (pixels / white * 255).astype(int)[:20, :20]
    first = next(item for item in build("worldfloods") if item["img_path"].endswith("one_0.png"))
    assert np.array_equal(first["img"][..., ::-1], expected)


def test_the_tables_of_data_have_every_dataset():
    text = (ROOT / "data" / "README.md").read_text()
    assert not [name for name in RAW if f"| `{name}` | " not in text]


def test_large_pictures_are_made_smaller(facts):
    """ADE20K's full set: the short side at 512 pixels, and labels by the nearest pixel."""
    from sclip_seg.data.prepare.reshape import _shrunk

    labels = np.arange(600)[:, None].repeat(900, 1)
    assert _shrunk(lambda _: labels.astype(np.uint16), 512, 0, None).shape == (512, 768)
    assert _shrunk(lambda _: labels.T.astype(np.uint16), 512, 0, None).shape == (768, 512)
    assert _shrunk(lambda _: labels[:512], 512, 0, None).shape == (512, 900)


@pytest.mark.parametrize(
    ("name", "path", "content", "message"),
    [
        ("suim", "suim/TEST/masks/one.bmp", None, "one.bmp cannot be read"),
        (
            "suim",
            "suim/TEST/masks/one.bmp",
            (7, 7, 7),
            r"has the colour \(7, 7, 7\), for which the benchmark has no class",
        ),
        (
            "worldfloods",
            "worldfloods/test/gt/one.tif",
            9,
            "one.tif has the value 9, for which the benchmark has no class",
        ),
        ("isaid", "isaid/val/images/P0003.png", None, "P0003.png cannot be read"),
    ],
)
def test_odd_sources_are_named(name, path, content, message, facts, capsys):
    for file, whole in files(name).items():
        Path("data", file).parent.mkdir(parents=True, exist_ok=True)
        Path("data", file).write_bytes(whole)
    if content is None:
        Path("data", path).write_bytes(b"no picture")
    else:
        from PIL import Image

        value = np.full((HEIGHT, WIDTH, *np.shape(content)), content, np.uint8)
        Image.fromarray(value).save(Path("data", path))
    assert tool.main(["convert", name]) == 2
    with pytest.raises(InputError, match=message):
        raise InputError(capsys.readouterr().err)


def test_what_is_missing_is_said(facts, capsys):
    assert tool.main(["convert", "suim"]) == 2
    assert "data/suim/TEST/masks is missing; `download` says how to get it" in capsys.readouterr().err
    assert tool.main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() >= RAW.keys()
    assert lines["suim"].endswith(
        "is missing (in the working folder " + str(Path.cwd()) + "); next: sclip-seg prepare download suim"
    )
    assert tool.main(["download", "potsdam"]) == 0
    printed = capsys.readouterr().out
    assert (
        "terms: not stated; on request, the provider BSF Swissphoto is to be named; given to those who register or ask"
        in printed
    )
    assert "to be fetched by hand: 2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip" in printed
    assert BORDER < HEIGHT
