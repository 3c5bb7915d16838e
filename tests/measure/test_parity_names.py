"""Names of files and keys are read by one grammar, and steps by shapes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.config import CONFIGS, load_config
from sclip_seg.measure.parity import blocks, dih_clip, paths, proxyclip, resclip, scclip, sfp, trident
from sclip_seg.measure.parity.datasets import method_and_dataset
from sclip_seg.measure.parity.names import UnknownName, merged, options
from sclip_seg.measure.parity.outcome import step_of, thinned
from sclip_seg.measure.parity.standins import grid_of

NAMES = [
    (blocks.BLOCK, "", {}),
    (blocks.BLOCK, "reduced", dict(residual=False, mlp=False)),
    (blocks.BLOCK, "qk_reduced", dict(attention=dict(type="qk"), residual=False, mlp=False)),
    (blocks.BLOCK, "full", dict(residual=True, mlp=True)),
    (blocks.BLOCK, "nonly", dict(attention=dict(type="nonly"))),
    (blocks.BLOCK, "naclip_sigma2.5", dict(attention=dict(type="naclip", sigma=2.5))),
    (paths.GEM, "iter3", dict(iterations=3)),
    (paths.GEM, "depth5_temp12", dict(blocks=4, temperature=12)),
    (resclip.WORDS, "rcs", dict(rcs=0.3, sfr=None)),
    (resclip.WORDS, "rcs_other", dict(rcs=0.3, sfr=None)),
    (resclip.WORDS, "lam0.6", dict(rcs=0.6)),
    (resclip.WORDS, "lam0.25.clearclip", dict(rcs=0.25, base="clearclip")),
    (resclip.WORDS, "no_rcs", dict(rcs=None)),
    (resclip.WORDS, "sclip", dict(base="sclip", residual=True, mlp=True)),
    (scclip.WORDS, "res_cls0", dict(class_weight=0)),
    (
        scclip.WORDS,
        "pre6_post2_multi5-9_rho0.1",
        dict(mid=7, post=3, fused=(6, 7, 8, 9), class_weight=0.1),
    ),
    (dih_clip.WORDS, "top3", dict(heads=3)),
    (sfp.WORDS, "L2", dict(detector="norm")),
    (sfp.WORDS, "few", {}),
    (proxyclip.WORDS, "beta1_gamma2.5", dict(beta=1, gamma=2.5)),
    (trident.WORDS, "default", {}),
    (trident.WORDS, "voc20", dict(cos_fac=0.0, mend_negative=False)),
    (trident.WORDS, "cityscapes_like", dict(cos_fac=3.0, mend_negative=True)),
    (trident.WORDS, "ade", dict(cos_fac=1.2, mend_negative=True)),
]


@pytest.mark.parametrize(("words", "name", "tail"), NAMES, ids=lambda value: value if isinstance(value, str) else "")
def test_names_and_what_they_set(words, name, tail):
    assert options(name, words).get("tail", {}) == tail


def test_words_beside_the_tail():
    assert options("default_neg", trident.WORDS) == dict(two_sided=True)
    assert options("ade", trident.WORDS)["two_sided"]
    assert options("original_path", paths.GEM)["tail"]["type"] == "LastBlock"
    assert options("heads8", proxyclip.WORDS) == dict(heads=8)


@pytest.mark.parametrize("dataset", ["voc20", "ade20k", "coco_object"])
def test_constants_of_a_dataset_are_the_config_s(dataset):
    tail = load_config(CONFIGS / "resclip.py", dataset).model.backbone.tail
    found = options(f"{dataset}_fp32", resclip.WORDS)["tail"]
    assert found == {key: tail[key] for key in ("rcs", "sfr", "sfr_scale", "threshold")} | {"half": False}
    assert options(dataset, resclip.WORDS)["tail"]["half"]


@pytest.mark.parametrize(
    "name", ["lam", "lam0.6-0.7", "lam0.6x", "lam0.6_", "_lam0.6", "lam0.6..no_rcs", "no_rcs3", "LAM0.6", "la", "voc2"]
)
def test_what_no_word_reads(name):
    with pytest.raises(UnknownName):
        options(name, resclip.WORDS)


MADE = {
    "a": lambda: {"a": True},
    "ab": lambda number: {"ab": number},
    "a_b": lambda first, last: {"a_b": (first, last)},
    "c2d": lambda: {"c2d": True},
}
NUMBERS = st.one_of(st.integers(0, 10**6), st.decimals(0, 1000, places=2).map(str))


@given(st.dictionaries(st.sampled_from([*MADE]), st.tuples(NUMBERS, NUMBERS)), st.data())
def test_any_terms_in_any_order_are_read_back(terms, data):
    spelled = {
        "a": lambda one, two: "a",
        "ab": lambda one, two: f"ab{one}",
        "a_b": lambda one, two: f"a_b{one}-{two}",
        "c2d": lambda one, two: "c2d",
    }
    name = ""
    for word, numbers in terms.items():
        name += (data.draw(st.sampled_from("_.")) if name else "") + spelled[word](*numbers)
    meant = {
        "a": lambda one, two: True,
        "ab": lambda one, two: float(one),
        "a_b": lambda one, two: (float(one), float(two)),
        "c2d": lambda one, two: True,
    }
    assert options(name, MADE) == {word: meant[word](*numbers) for word, numbers in terms.items()}


def test_merged_goes_in_but_for_another_type():
    held = dict(tail=dict(type="A", x=1, inner=dict(y=2)), positions="p")
    assert merged(held, dict(tail=dict(inner=dict(z=3)))) == dict(
        tail=dict(type="A", x=1, inner=dict(y=2, z=3)), positions="p"
    )
    assert merged(held, dict(tail=dict(type="B")))["tail"] == dict(type="B")
    assert held["tail"] == dict(type="A", x=1, inner=dict(y=2))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sclip_voc21", ("sclip", "voc21")),
        ("clip_surgery_context59", ("clip_surgery", "context59")),
        ("sclip_ade", ("sclip", "ade20k")),
        ("naclip_coco_stuff164k", ("naclip", "coco_stuff164k")),
    ],
)
def test_method_and_dataset(name, found):
    assert method_and_dataset(name) == found


@pytest.mark.parametrize("name", ["sclip", "sclip_plus_voc21", "sclip_voc", "voc21", "_voc21"])
def test_no_method_or_no_dataset(name):
    with pytest.raises(UnknownName):
        method_and_dataset(name)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 40), st.integers(1, 40))
def test_a_step_keeps_as_many_as_there_are(height, width, step, usual):
    kept = [(side, math.ceil(side / step)) for side in (height, width)]
    found = step_of(kept, usual)
    assert [(side, len(range(0, side, found))) for side in (height, width)] == kept
    if all(math.ceil(side / usual) == count for side, count in kept):
        assert found == usual


def test_a_step_is_the_usual_one_or_else_the_roundest():
    assert step_of([(300, 10), (400, 13)], 31) == 31
    assert step_of([(300, 10), (400, 13)], 8) == 32
    assert step_of([(300, 19), (400, 25)], 8) == 16
    assert step_of([(300, 299)], 8) == 8  # no step does, and the shapes will tell


def test_thinned():
    ours = torch.arange(12.0).view(1, 12).expand(2, 12)
    assert thinned(ours, np.zeros((2, 3)), (1,), 3)[0].tolist() == [0, 4, 8]
    assert thinned(ours, np.zeros((2, 3)), (-1,), 5)[0].tolist() == [0, 5, 10]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 16))
def test_the_grid_of_a_guide_is_that_of_its_picture(height, width, pixels):
    assert grid_of(height * width, (height * pixels, width * pixels)) == (height, width)
