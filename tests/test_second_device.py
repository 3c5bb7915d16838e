"""Every method on a second device: no tensor is made or left on the wrong one, and the host does not wait in vain."""

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from refinements import refinement_by
from second_device import SecondDevice, There, move
from tiny_cells import with_tiny_guides

from sclip_seg.config import CONFIGS, choices, load_config
from sclip_seg.show.predictor import Predictor

METHODS = choices(CONFIGS)["method"]
SIZE = 96, 130
SMALL = {
    "model.text_cache": None,
    "model.precision": "fp32",
    "model.keep_scores": True,
    "model.short_side": None,
    "model.templates": "plain",
}
# How often the host waits for the device while it segments a second picture of one size: for the picture itself;
# for clusters and medians, which are computed on the host; for the original that an affinity sees; for where the
# patches lie, how colours are turned, and where the rows of a graph end.
WAITS = {"cliptrase": 4, "cliptrase_windows": 25, "trident": 4, "lposs_plus": 6}
WAITED = (
    "sclip",
    "gem",
    "resclip",
    "proxyclip",
    "cliptrase",
    "trident",
    "fsa",
    "gla_clip",
    "lposs_plus",
    "pearl",
)  # of each kind one
VARIANTS = {
    "sight lines": ("resclip", dict(sight="line", blur="grid", scaling="row")),
    "components": ("resclip", dict(sight="component", half=True)),
    "other base": ("resclip", dict(base="sclip", rcs=None, pamr=False)),
    "class scores": ("cliptrase", dict(image_prior=True)),
    "no clusters": ("cliptrase_windows", dict(cluster=False)),
    "denoised": ("maskclip", dict(denoise_prompts=0.05, smooth_keys="released", smooth_below=0.9)),
    "feature surgery": ("clip_surgery", dict(feature_surgery=True)),
    "norms": ("scclip", dict(detector="norm")),
    "factors": ("scclip", dict(detector="lof")),
    "lengths": ("sfp", dict(detector="norm")),
    "selected heads": ("dih_clip", dict(heads=2)),
    "temperature": ("gem", dict(iterations=2, temperature=10.0)),
    "projections": ("sclip", dict(attention=dict(type="random_projection", n=2))),
    "neighbours only": ("naclip", dict(attention=dict(type="nonly"))),
    "combination": ("clearclip", dict(attention=dict(type="combination", of=["tokens", "identity"]))),
    "halves": ("trident", dict(halves=True, mend_negative=True)),
}


def build(method, dataset="toy", tail=None):
    config = load_config(CONFIGS / f"{method}.py", dataset, "toy", SMALL)
    config.model.backbone.tail.update(tail or {})
    if dataset != "toy":
        config.model.window.update(crop=64 if config.model.window.crop else None, stride=32)
    steps = config.model.get("refine", [])
    config.model.refine = [step for step in steps if step == "ClassMaximum" or step["type"] != "SAMRefinement"]
    return MODELS.build(config.model).eval()


def picture():
    """Smooth, so that there is something to see: noise has no regions."""
    coarse = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(3))
    return (255 * torch.nn.functional.interpolate(coarse[None], SIZE, mode="bicubic")[0]).clamp(0, 255).byte()


def segment(model):
    sample = SegDataSample(metainfo=dict(ori_shape=SIZE))
    return model.test_step({"inputs": [picture()], "data_samples": [sample]})[0]


def assert_same(here, there):
    labels = there.pred_sem_seg.data
    assert isinstance(labels, There)
    assert (labels.held == here.pred_sem_seg.data).float().mean() > 0.999
    found, expected = there.seg_logits.data.held, here.seg_logits.data
    assert ((found - expected).abs() < 1e-3).float().mean() > 0.999


@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_its_steps(method):
    """VOC21's protocols have thresholds, an area filter, PAMR and synonyms.

    The toy tower takes nearly all of its words for one, and a solver tells equal scores apart by rounding.
    """
    model = build(method, "toy" if method in ("lposs", "lposs_plus") else "voc21")
    here = segment(model)
    model.text = None
    with SecondDevice():
        move(model)
        there = segment(model)
    assert_same(here, there)


@pytest.mark.parametrize("method", WAITED)
def test_how_often_the_host_waits(method):
    model = build(method, "toy")
    with SecondDevice() as device:
        move(model)
        segment(model)
        device.waits.clear()
        segment(model)
    assert 1 <= device.waits.total() <= WAITS.get(method, 1), device.waits


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(variant):
    model = build(*VARIANTS[variant][:1], tail=VARIANTS[variant][1])
    here = segment(model)
    model.text = None
    with SecondDevice():
        there = segment(move(model))
    assert_same(here, there)


@pytest.mark.parametrize("method", sorted({*METHODS} - {"cliptrase_windows"}))
def test_attention(method):
    model = build(method)
    pixels = picture().flip(0).permute(1, 2, 0).numpy()
    (here,) = Predictor(model).attention(pixels, [(40, 70)])
    model.text = None
    with SecondDevice():
        (there,) = Predictor(move(model)).attention(pixels, [(40, 70)])
    for one, other in zip(there.seen, here.seen, strict=True):
        torch.testing.assert_close(torch.from_numpy(one.rows), torch.from_numpy(other.rows), rtol=1e-3, atol=1e-4)


def test_sam_as_affinity_and_refinement():
    model = build("trident")
    config = load_config(CONFIGS / "trident.py", "voc21", "toy").model.to_dict()
    config["backbone"]["tail"]["affinity"] = dict(type="SAMGuide")
    affinity = with_tiny_guides(config)["backbone"]["tail"]["affinity"]
    tail = type(model.backbone.tail)(model_guide(), affinity)
    model.backbone.tail = tail
    here = segment(model)
    model.text = None
    with SecondDevice():
        assert_same(here, segment(move(model)))


def model_guide():
    return load_config(CONFIGS / "trident.py", "toy", "toy").model.backbone.tail.guide


def test_refinement_by_sam():
    generator = torch.Generator().manual_seed(0)
    sam = refinement_by(None, iou_threshold=-10.0, min_area=4, coarse_threshold=0.1, fall_back="intended")
    probability = torch.rand(3, 4, 4, generator=generator)
    probability = torch.nn.functional.interpolate(probability[None], (48, 64), mode="bilinear")[0].softmax(0)
    embedding = torch.randn(256, 64, 64, generator=generator)
    arguments = probability.argmax(0), probability, embedding
    here = sam.redraw(*arguments, (768, 1024))
    assert (here != arguments[0]).any()
    with SecondDevice():
        there = move(sam).redraw(*map(There, arguments), (768, 1024))
    assert (there.held == here).float().mean() > 0.999
