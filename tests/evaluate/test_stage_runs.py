"""Stages and steps given to another method: in a run, in the signature, and refused in words."""

from math import isfinite
from pathlib import Path

import numpy as np
import protocols_zsseg
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image
from plain_sam import SIDE, small_sam
from runs import CONFIGS, cell, result_of, run
from safetensors.torch import save_file
from tiny_cells import TINY_GUIDES
from tiny_guides import SAM_TINY, stock
from trees import make_tree

from sclip_seg.config import load_config
from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import signature

DINO = dict(type="TimmGuide", **TINY_GUIDES["TimmGuide"], pretrained=None)
SAM = dict(type="SAMGuide", **TINY_GUIDES["SAMGuide"], pretrained=None)
LPOSS = dict(type="LPOSS", guide=DINO)
CERTAIN = "model.background_threshold=0"  # random towers are not sure of much


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch, tiny):
    """One picture of VOC21, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data", count=1)


@pytest.fixture
def fields(tiny):
    """`fields(stages, **options)`: the signature of SCLIP with these stages, as a dict."""

    def sign(stages, **options):
        options = {"model.backbone.arch": tiny, "model.backbone.pretrained": None, "model.stages": stages} | options
        config = cell("sclip", **options)
        line = signature(config, MODELS.build(config.model), 1, 1)
        return dict(part.split(":", 1) for part in line.split("|"))

    return sign


def moved(one, other):
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def test_a_stage_is_in_the_signature(fields):
    """Its settings, and the digest of its guide; a model without stages does not speak of them."""
    plain, spread = fields([]), fields([LPOSS])
    assert "stages" not in plain
    assert moved(plain, spread) == {"stages", "guides"}
    assert spread["stages"].startswith("LPOSS(guide=TimmGuide(arch=")
    assert plain["guides"] == "none"
    assert spread["guides"].startswith(f"{DINO['arch']}.random#")
    for change in (dict(neighbours=3), dict(power=1.0), dict(sigma=0.0), dict(alpha=0.5), dict(steps=9)):
        assert moved(spread, fields([LPOSS | change])) == {"stages"}
    assert moved(spread, fields([LPOSS, LPOSS])) == {"stages"}  # one guide, asked once


def test_of_a_guide_s_file_its_digest_counts_and_not_its_place(fields, tmp_path):
    found = []
    for folder, factor in (("here", 1.0), ("there", 1.0), ("others", 1.5)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "dino.safetensors"
        save_file({name: factor * tensor for name, tensor in stock("dino").state_dict().items()}, path)
        found.append(fields([LPOSS | dict(guide=DINO | dict(pretrained=str(path)))]))
    here, there, others = found
    assert here == there
    assert moved(here, others) == {"guides"}
    assert here["guides"].startswith(f"{DINO['arch']}.dino.safetensors#")
    assert moved(here, fields([LPOSS | dict(guide=DINO | dict(folder="elsewhere"))])) == {"guides"}


def test_steps_of_lposs_are_in_the_signature(fields):
    plain = fields([])
    for step in ("LPOSSPlus", "ClassMaximum", dict(type="LPOSSPlus", tau=0.1)):
        assert moved(plain, fields([], **{"model.refine": [step]})) == {"refine"}


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ("[LPOS]", "model.stages is of type 'LPOS', and there is no such stage; did you mean LPOSS?"),
        ([LPOSS | dict(neighbour=3)], "model.stages (LPOSS) has no key 'neighbour'; did you mean neighbours?"),
        ([LPOSS | dict(alpha=1.0)], "model.stages.alpha is 1.0; it must be a finite number from 0 to 0.999"),
        ([LPOSS | dict(neighbours=0)], "model.stages.neighbours is 0; it must be a whole number from 1 to"),
        ([LPOSS | dict(steps=0)], "model.stages.steps is 0; "),
        ([LPOSS | dict(sigma=-1)], "model.stages.sigma is -1; "),
        ([LPOSS | dict(power=0)], "model.stages.power is 0; "),
        ([LPOSS | dict(power="nan")], "model.stages.power is 'nan'; "),
        ([LPOSS | dict(guide=DINO | dict(type="TimGuide"))], "there is no such guide; did you mean TimmGuide"),
        ([LPOSS | dict(guide=DINO | dict(archi=1))], "model.stages.guide (TimmGuide) has no key 'archi'; did you mean"),
        ([LPOSS | dict(guide=SAM)], "SAMGuide does not show its values; TimmGuide does"),
        ("LPOSS", "model.stages is 'LPOSS'; it must be a list of"),
        (None, "model.stages is None; it must be a list of"),
        ([3], "3"),
    ],
    ids=str,
)
def test_what_is_no_stage_is_refused_in_words(stages, told, capsys):
    assert run("sclip.py", options=[CERTAIN, f"model.stages={stages}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert len(error.splitlines()) == 1
    assert not list(Path().rglob("result.json"))


@pytest.mark.parametrize(
    "step", [dict(reach=0), dict(reach=65), dict(tau=0), dict(alpha=1), dict(steps=0), dict(reac=3)], ids=str
)
def test_settings_of_lposs_plus_are_held(step):
    with pytest.raises(InputError, match=rf"model\.refine.*{next(iter(step))}"):
        load_config(CONFIGS / "sclip.py", options={"model.refine": [dict(type="LPOSSPlus", **step)]})


def test_stages_and_steps_go_with_another_method():
    """They move labels, each of them, and a stage that does nothing moves none."""
    maps = {}
    for name, options in {
        "plain": [],
        "weak": [f"model.stages={[LPOSS | dict(neighbours=1)]}"],  # no edges
        "stage": [f"model.stages={[LPOSS]}"],
        "step": ["model.refine=[LPOSSPlus,ClassMaximum]"],
        "both": [f"model.stages={[LPOSS]}", "model.refine=[LPOSSPlus,ClassMaximum]"],
    }.items():
        assert run("sclip.py", "--work-dir", name, "--out", f"{name}-maps", options=[CERTAIN, *options]) == 0
        assert isfinite(result_of(name)["miou"])
        maps[name] = np.array(Image.open(next(Path(f"{name}-maps").iterdir())))
    assert np.array_equal(maps["plain"], maps["weak"])
    found = [maps[name] for name in ("plain", "stage", "step", "both")]
    assert all((one != other).any() for i, one in enumerate(found) for other in found[:i])


def test_refinement_by_sam_goes_with_another_method(tmp_path):
    """SCLIP, whose labels a tiny SAM redraws: at the labels' size, and of the classes that were there."""
    transformers = pytest.importorskip("transformers")
    assert SAM_TINY["img_size"] == SIDE
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.SamModel(transformers.SamConfig(**small_sam())).save_pretrained(tmp_path / "sam")
    step = dict(type="SAMRefinement", checkpoint=str(tmp_path / "sam"), guide=SAM, coarse_threshold=0, min_area=4)
    maps, results = [], []
    for name, steps in {
        "plain": [],
        "every": [step | dict(iou_threshold=-100)],
        "none": [step | dict(iou_threshold=100)],
    }.items():
        options = [CERTAIN, "model.min_area=0", f"model.refine={steps}"]
        assert run("sclip.py", "--work-dir", name, "--out", f"{name}-maps", options=options) == 0
        maps.append(np.array(Image.open(next(Path(f"{name}-maps").iterdir()))))
        results.append(result_of(name)["signature"])
    plain, every, none = maps
    assert every.shape == plain.shape
    assert set(np.unique(every)) <= set(np.unique(plain))
    assert (every != plain).any()
    assert np.array_equal(none, plain)
    assert "|guides:none|" in results[0]
    assert f"|guides:{SAM['arch']}.random#" in results[1]
    assert str(tmp_path) not in results[1]


@pytest.mark.parametrize(("method", "dataset"), [(m, d) for m, rows in protocols_zsseg.TUNED.items() for d in rows])
def test_what_a_second_stage_tunes(method, dataset):
    assert cell(method, dataset).model.to_dict()["stages"] == protocols_zsseg.stages(method, dataset)
