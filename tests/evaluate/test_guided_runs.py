"""Methods with guides through `sclip-seg test`, these tiny: every benchmark, Trident's refinement, mistakes."""

import re
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image
from plain_sam import SIDE, small_sam
from protocols import COARSE, SAM_REFINE
from runs import CONFIGS, miou, result_of, run, tool
from tiny_cells import TINY_GUIDES, flat, tiny_guide_options, with_tiny_guides
from tiny_guides import SAM_TINY, TINY, write
from trees import BENCHMARKS, ZERO_IGNORED, make_tree

from sclip_seg.config import load_config
from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import signature

GUIDE, AFFINITY = "model.backbone.tail.guide", "model.backbone.tail.affinity"
PLACES = {method: [GUIDE] for method in ("proxyclip", "fsa", "gla_clip", "cass", "corrclip")}
PLACES |= {"trident": [GUIDE, AFFINITY], "lposs": ["model.stages.0.guide"]}
METHODS = tuple(PLACES)
KINDS = ("proxyclip", "gla_clip", "trident", "lposs", "corrclip")  # windows alone, across, the whole, a stage, regions
DINO, SAM = (f"{TINY_GUIDES[kind]['arch']}.random#[0-9a-f]+" for kind in ("TimmGuide", "SAMGuide"))
GUIDES = dict.fromkeys(METHODS, DINO) | {"trident": rf"{DINO}\+{SAM}"}
CERTAIN = "model.background_threshold=0"  # random towers are not sure of much


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch, tiny):
    """The folder that stands for `data/`, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def stirred(tmp_path_factory):
    """`stirred(method)`: options for weights that show, from files; fresh ones have no biases and even attention."""
    folder = tmp_path_factory.mktemp("guides")
    files = dict(zip(("guide", "affinity"), (write(name, folder) for name in ("dino", "sam")), strict=True))
    return lambda method: [CERTAIN, *(f"{p}.pretrained={files[p.split('.')[-1]]}" for p in PLACES[method])]


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory) -> str:
    """A SamModel of the tiny affinity's sizes, with weights that do not depend on how transformers begins them."""
    transformers = pytest.importorskip("transformers")
    assert (SIDE, small_sam()["vision_config"]["output_channels"]) == (SAM_TINY["img_size"], SAM_TINY["neck_chans"])
    folder = tmp_path_factory.mktemp("sam")
    with torch.random.fork_rng(devices=[]):
        model = transformers.SamModel(transformers.SamConfig(**small_sam()))
        torch.manual_seed(0)
        for name, parameter in sorted(model.named_parameters()):
            middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.data = middle + 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return str(folder)


def start(method, *arguments, options=(), checkpoint=None):
    """Exit status of a run of the method with tiny guides."""
    return run(f"{method}.py", *arguments, options=[*tiny_guide_options(method, checkpoint), *options])


def evaluate(method, name, *arguments, **others):
    """Result and label maps of a run that is kept under NAME."""
    assert start(method, *arguments, "--work-dir", name, "--out", f"{name}-maps", **others) == 0
    return result_of(name), [np.array(Image.open(path)) for path in sorted(Path(f"{name}-maps").rglob("*.png"))]


def fields(result):
    """The signature as a dict."""
    return dict(part.split(":", 1) for part in result["signature"].split("|"))


def changed(some, others):
    """Share of the pixels whose label differs."""
    return np.concatenate([(a != b).ravel() for a, b in zip(some, others, strict=True)]).mean()


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("method", METHODS)
def test_benchmark_end_to_end(method, name, data):
    labels = make_tree(name, data, count=2)
    result, maps = evaluate(method, "run", "--dataset", name)
    assert (result["method"], result["dataset"], result["images"]) == (method, name, 2)
    assert all(isfinite(result[key]) and 0 <= result[key] <= 100 for key in ("miou", "aacc", "macc"))
    assert [m.shape for m in maps] == [label.shape for label in labels]
    assert len(np.unique(np.concatenate([m.ravel() for m in maps]))) > 1
    stored = [m - 1 for m in maps] if name in ZERO_IGNORED else maps
    assert result["miou"] == pytest.approx(miou(stored, labels), abs=1e-9)
    assert re.fullmatch(GUIDES[method], fields(result)["guides"])


@pytest.mark.parametrize("method", ["trident", "lposs"])  # parts of a tail, of a stage and of a step
def test_written_config_replays_to_the_same_score(method, data, stirred):
    make_tree("voc21", data, count=1)
    first, maps = evaluate(method, "first", options=stirred(method))
    assert tool.main(["first/config.py", "--work-dir", "again", "--out", "again-maps"]) == 0
    again = result_of("again")
    for key in ("miou", "per_class", "signature", "config_digest"):
        assert again[key] == first[key], key
    assert changed(maps, [np.array(Image.open(path)) for path in sorted(Path("again-maps").iterdir())]) == 0


@pytest.mark.parametrize("method", KINDS)
def test_batches_move_no_label(method, data, stirred):
    """Nor Trident's, whose mean similarity is that of all windows of a picture, whatever batches they come in."""
    make_tree("voc21", data, count=2)
    for folder in ("JPEGImages", "SegmentationClass"):  # the second picture is as large as the first
        first, second = sorted((data / "VOCdevkit/VOC2012" / folder).glob("2007_*"))
        Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(second)
    alone, maps = evaluate(method, "one", options=[*stirred(method), "model.window.batch=1"])
    assert min(len(np.unique(m)) for m in maps) > 2
    batches = ["model.window.batch=4", "test_dataloader.batch_size=2"]
    together, same = evaluate(method, "pairs", options=[*stirred(method), *batches])
    assert changed(maps, same) == 0
    assert together["signature"] == alone["signature"]


@pytest.mark.parametrize(("method", "place"), [(method, place) for method in METHODS for place in PLACES[method]])
def test_other_weights_of_a_guide_show(method, place, data):
    """In the labels, and in the signature by the digest of that guide's weights."""
    make_tree("voc21", data, count=1)
    seeds = [[CERTAIN, f"{place}.seed={seed}"] for seed in (0, 1)]
    (one, maps), (other, moved) = (evaluate(method, options[1][-1], options=options) for options in seeds)
    assert changed(maps, moved) > 0
    pairs = zip(*(fields(result)["guides"].split("+") for result in (one, other)), strict=True)
    assert [a != b for a, b in pairs] == [place == p for p in PLACES[method]]


# What configs/proxyclip.py offers in DINO ViT-B/8's place, made tiny, and a crop that its patch divides. The grid of
# DINOv2 is none that Trident can join patch by patch, and is resampled.
OTHERS = {
    "dino_b16": (dict(arch="vit_base_patch16_224.dino", options=TINY | dict(img_size=32)), 32),
    "dinov2": (
        dict(arch="vit_base_patch14_reg4_dinov2.lvd142m", positions="gem", options=TINY | dict(img_size=56)),
        56,
    ),
    "mae": (dict(arch="vit_base_patch16_224.mae", positions="maskclip", options=TINY | dict(img_size=32)), 32),
    "sam": (TINY_GUIDES["SAMGuide"] | dict(type="SAMGuide"), 32),
}


@pytest.mark.parametrize(("method", "name"), [*(("proxyclip", name) for name in OTHERS), ("trident", "dinov2")])
def test_other_guides(method, name, data):
    (label,) = make_tree("voc21", data, count=1)
    guide, crop = OTHERS[name]
    options = [*flat(GUIDE, guide | dict(pretrained=None)), f"model.window.crop={crop}"]
    # Not with the tiny DINO's own options beneath them, which would be merged into those of another model.
    options += [line for line in tiny_guide_options(method) if not line.startswith(GUIDE)]
    assert run(f"{method}.py", "--work-dir", "run", "--out", "maps", options=options) == 0
    result = result_of("run")
    assert isfinite(result["miou"])
    assert fields(result)["guides"].startswith(f"{guide['arch']}.random#")
    assert np.array(Image.open(next(Path("maps").iterdir()))).shape == label.shape


def test_released_padding_is_in_the_signature(data, stirred):
    make_tree("voc21", data, count=1)
    result, maps = evaluate("proxyclip", "plain", options=stirred("proxyclip"))
    padded, moved = evaluate("proxyclip", "padded", options=[*stirred("proxyclip"), "model.window.unit=56"])
    assert changed(maps, moved) > 0.01
    assert padded["signature"] != result["signature"]


@pytest.mark.parametrize("dataset", COARSE)
def test_what_trident_sets_by_benchmark(dataset):
    model = load_config(CONFIGS / "trident.py", dataset).model
    (step,) = model.refine
    assert step.pop("guide") == model.backbone.tail.affinity
    assert step == dict(type="SAMRefinement", **SAM_REFINE | dict(coarse_threshold=COARSE[dataset]))
    tail = model.backbone.tail
    assert tail.get("mend_negative", False) == (dataset in ("cityscapes", "ade20k"))
    assert tail.get("halves", False) == (dataset == "cityscapes")


def test_the_guide_of_a_step_is_checked_as_any_guide():
    with pytest.raises(InputError, match=r"model\.refine\.guide \(SAMGuide\) has no key 'archi'; did you mean arch"):
        load_config(CONFIGS / "trident.py", options={"model.refine.0.guide.archi": "x"})


@pytest.mark.parametrize("dataset", ["voc21", "cityscapes"])  # the second cuts pictures for SAM
def test_refinement_with_sam(dataset, data, stirred, sam_folder):
    (label,) = make_tree(dataset, data, count=1)
    options = stirred("trident")[dataset == "cityscapes" :]  # it has no background
    runs = [("plain", None, []), ("every_mask", sam_folder, refining(-100)), ("no_mask", sam_folder, refining(100))]
    (_, plain), (result, refined), (_, left) = (
        evaluate("trident", name, "--dataset", dataset, options=[*options, *more], checkpoint=checkpoint)
        for name, checkpoint, more in runs
    )
    assert isfinite(result["miou"])
    assert refined[0].shape == label.shape
    assert set(np.unique(refined[0])) <= set(np.unique(plain[0]))
    assert changed(plain, refined) > 0
    assert changed(plain, left) == 0


def refining(least_iou):
    """Options for a picture of few pixels that is sure of nothing."""
    return [f"model.refine.0.{key}" for key in ("coarse_threshold=0", "min_area=4", f"iou_threshold={least_iou}")]


@pytest.fixture
def line(tiny):
    """`line(method, options)`: the signature of a cell on a tiny tower, with `a.b.c` -> value on top."""

    def sign(method, options):
        config = load_config(CONFIGS / f"{method}.py")
        config.model = with_tiny_guides(config.model.to_dict())
        config.merge_from_dict({"model.backbone.arch": tiny, "model.backbone.pretrained": None} | options)
        return signature(config, MODELS.build(config.model), 1, 1)

    return sign


def test_refinement_is_in_the_signature(line):
    """With and without it, and with another setting."""
    pytest.importorskip("transformers")
    settings = {"model.refine": []}, {}, {"model.refine.0.min_area": 400}
    assert len({line("trident", options) for options in settings}) == 3


def test_where_a_guides_weights_lie_is_not_in_the_signature(line, tmp_path):
    lines = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        lines.add(line("proxyclip", {f"{GUIDE}.pretrained": write("dino", tmp_path / name)}))
    assert len(lines) == 1


@pytest.fixture
def refused(data, capsys):
    """`refused(method, *options)`: the one line that a refused run ends with, after status 2 and no result."""
    make_tree("voc21", data, count=1)

    def message(method, *options, checkpoint=None):
        assert start(method, options=options, checkpoint=checkpoint) == 2
        told = capsys.readouterr()
        assert "mIoU" not in told.out
        assert not list(Path().rglob("result.json"))
        assert told.err.startswith("error: ")
        assert "Traceback" not in told.err
        return told.err.removeprefix("error: ").strip()

    return message


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("proxyclip", f"{GUIDE}.arch=vit_base_patch8_225.dino", "no model 'vit_base_patch8_225.dino'; near: vit_base"),
        ("proxyclip", f"{GUIDE}.arch=vit_base_patch8_224.dyno", "dyno"),
        ("proxyclip", f"{GUIDE}.type=TimGuide", "there is no such guide; did you mean TimmGuide"),
        ("proxyclip", f"{GUIDE}.archi=x", f"{GUIDE} (TimmGuide) has no key 'archi'; did you mean arch?"),
        ("proxyclip", f"{GUIDE}.pretrained=mine.safetensors", "weights mine.safetensors are missing"),
        ("trident", f"{GUIDE}.arch=dino", "has no model 'dino'"),
        ("trident", f"{AFFINITY}.arch=samvit_bse_patch16.sa1b", "near: samvit_base_patch16.sa1b"),
        ("trident", f"{AFFINITY}.positions=gem", f"{AFFINITY} (SAMGuide) has no key 'positions'"),
        ("trident", "model.window.crop=36", "window.crop=36, window.stride=16"),
        ("trident", "model.window.crop=None", "window.crop=None"),
        ("trident", "model.stages=[Propagation]", "model.stages is of type 'Propagation', and there is no such stage"),
    ],
)
def test_wrong_name(refused, method, option, message):
    told = refused(method, option)
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "options",
    [
        [f"{GUIDE}.positions=bicubic"],
        [f"{GUIDE}.arch=samvit_base_patch16.sa1b"],  # the type left as it was
        [f"{GUIDE}.type=SAMGuide"],  # the name left as it was
    ],
    ids=["positions", "sam_as_timm", "vit_as_sam"],
)
def test_guide_of_the_wrong_kind(refused, options):
    assert "\n" not in refused("proxyclip", *options)


def test_wrong_setting_of_the_segmentor(refused):
    assert "has no key 'shortside'; did you mean short_side?" in refused("trident", "model.shortside=3")


def test_no_checkpoint_to_refine_with(refused):
    pytest.importorskip("transformers")
    assert "the SAM checkpoint './nowhere/sam'" in refused("trident", checkpoint="./nowhere/sam")
