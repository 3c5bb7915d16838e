"""Every setting says in its annotation what it may be; what it is not is refused, everywhere in the same words."""

import argparse
import inspect
import math
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypedDict, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loaded import load_tool
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from PIL import Image

import sclip_seg
from sclip_seg.command import Parser
from sclip_seg.config import CONFIGS, choices, load_config
from sclip_seg.errors import InputError
from sclip_seg.picture.refine.sam import SAMRefinement
from sclip_seg.registry import ATTENTION, GUIDES, STAGES, STEPS, TAILS
from sclip_seg.settings import Count, Natural, Positive, Range, Share, check, checked, parameters

PARTS = {
    f"{shelf.name}.{name}": part
    for shelf in (ATTENTION, TAILS, GUIDES, STAGES, STEPS, MODELS, TRANSFORMS, DATASETS, METRICS, HOOKS, DATA_SAMPLERS)
    for name, part in shelf.module_dict.items()
    if part.__module__.startswith("sclip_seg.")
}
RUN = ("hook", "data sampler")  # what tools/test.py makes of its own arguments
HUGE = (10**9, 10**18, 10**400)
WRONG = ("abc", "", "nan", "inf", [1], {"a": 1}, math.nan, math.inf, -math.inf)


def numbers_in(kind):
    """The bare numeric types of an annotation, and its ranges."""
    if get_origin(kind) is Annotated:
        return [], [limit for limit in get_args(kind)[1:] if isinstance(limit, Range)]
    found = [numbers_in(part) for part in get_args(kind) if get_origin(kind) is not Literal]
    bare = [kind] * (kind in (int, float)) + [t for types, _ in found for t in types]
    return bare, [r for _, ranges in found for r in ranges]


@pytest.mark.parametrize("name", PARTS)
def test_every_number_has_a_range(name):
    for parameter in [*parameters(PARTS[name]).values()][name.startswith("attention.") :]:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert parameter.annotation is not inspect.Parameter.empty, parameter.name
            assert not isinstance(parameter.annotation, str), parameter.name
            assert numbers_in(parameter.annotation)[0] == [], parameter.name
            if parameter.default is not parameter.empty:
                check(parameter.name, parameter.default, parameter.annotation)


def places_of(config):
    """`a.b.c` of each number in what a config hands to its parts, and its kind."""
    found = {"test_dataloader.batch_size": Count, "test_dataloader.num_workers": Natural}

    def look(place, keys, shelf):
        part = shelf.get(keys["type"])
        for name, parameter in parameters(part).items():
            if get_origin(parameter.annotation) and numbers_in(parameter.annotation)[1]:
                found[f"{place}.{name}"] = parameter.annotation
        for name, inner in (("backbone", MODELS), ("tail", TAILS), ("attention", ATTENTION), ("guide", GUIDES)):
            if isinstance(keys.get(name), dict):
                look(f"{place}.{name}", keys[name], inner)
        for name in ("crop", "stride", "batch", "unit"):
            if "vocabulary" in keys:
                found[f"{place}.window.{name}"] = Count | None

    look("model", config.model, MODELS)
    for kind, shelf in (("stages", STAGES), ("refine", STEPS)):
        for index, part in enumerate(config.model.get(kind, [])):
            if isinstance(part, dict):
                look(f"model.{kind}.{index}", part, shelf)
    return found


METHODS = choices(CONFIGS)["method"]


@pytest.mark.parametrize("method", METHODS)
def test_every_number_of_a_method(method):
    """With wrong types, NaN, infinity, what is below and above its range, and huge values."""
    path = CONFIGS / f"{method}.py"
    for turn, (place, kind) in enumerate(places_of(load_config(path, "toy", "toy")).items()):
        named = re.sub(r"\.\d+\.", ".", place)  # which of several steps is not told
        (limit, *_) = numbers_in(kind)[1]
        beyond = [limit.low - 1, limit.low] if limit.above else [limit.low - 1]
        is_list = "tuple" in str(kind) or "Sequence" in str(kind)
        wrong = (*WRONG, True, *(n for n in HUGE if n > limit.high), *beyond, limit.high + 1)
        for index, value in enumerate(wrong):
            value = [value] if is_list else value
            in_config = partial(load_config, path, "toy", "toy", {place: value})
            alone = partial(check, named, value, kind)
            with pytest.raises(InputError) as refused:
                (in_config if index == turn % len(wrong) else alone)()  # a config takes longer
            assert named in str(refused.value)
            assert "must be" in str(refused.value)
            assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("test_dataloader.batch_size", 0),
        ("test_dataloader.num_workers", -1),
        ("test_dataloader.drop_last", True),
        ("test_dataloader.shuffle", True),
        ("test_dataloader.dataset.indices", 0),
        ("test_dataloader.dataset.reduce_zero_label", "maybe"),
        ("test_cfg.fp16", True),
        ("randomness", dict(seed=-1)),
        ("load_from", "weights.pth"),
        ("resume", True),
        ("model.precision", "fp8"),
        ("model.window.padding", "wrap"),
        ("model.backbone.tail.residual", "no"),
        ("model.backbone.quick_gelu", 1),
        ("model.backbone.pretrained", 3),
        ("model.text_cache", 2012),
        ("model.refine", "PAMR"),
        ("model.refine", [dict(type="PAMR", steps=0)]),
        ("model.refine", [dict(type="PAMR", dilations=[8, 0])]),
        ("model.refine", ["torch.hub.load"]),
        ("model.stages", "LPOSS"),
        ("model.stages", ["PAMR"]),
        ("model.stages", ["torch.hub.load"]),
        ("model.stages", [dict(type="LPOSS", steps=0)]),
        ("model.stages", [dict(type="LPOSS", neighbour=3)]),
        ("model.stages", [dict(type="LPOSS", guide=dict(type="StubGuide"))]),
        ("model.stages", [dict(type="LPOSS", guide=dict(type="TimmGuide", seed=-1))]),
        ("model.refine", [dict(type="LPOSSPlus", reach=65)]),
        ("model.refine", [dict(type="LaplacianPropagation", grid=0)]),
        ("model.backbone.tail.attention", dict(type="naclip", sigma=-1)),
    ],
    ids=str,
)
def test_what_would_move_a_score_or_end_in_a_traceback(place, value):
    with pytest.raises(InputError) as refused:
        load_config(CONFIGS / "sclip.py", "toy", "toy", {place: value})
    assert place.split(".")[-1] in str(refused.value)


BAD = ("model.logit_scale=nan", "model.background_threshold=2", "model.short_side=1.5", "model.window.batch=0")


@pytest.mark.parametrize("option", BAD)
def test_all_ways_in_refuse_in_the_same_words(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (70, 70)).save("a.png")
    key, _, text = option.partition("=")
    value = {"nan": "nan", "2": 2, "1.5": 1.5, "0": 0}[text]
    with pytest.raises(InputError) as refused:
        sclip_seg.load("sclip", "toy", device="cpu", options={key: value})
    words = str(refused.value)
    assert words.startswith(f"{key} is ")

    toy = ["--backbone", "toy", "--cfg-options", option]
    calls = {
        "test": [str(CONFIGS / "sclip.py"), "--dataset", "toy", *toy],
        "demo": ["a.png", "--classes", "tomato", *toy],
    }
    for name, arguments in calls.items():
        assert load_tool(name).main(arguments) == 2
        told = capsys.readouterr()
        assert told.err == f"error: {words}\n", name
    grid = ["--methods", "sclip", "--datasets", "toy", "--backbones", "toy", "--cfg-options", option]
    assert load_tool("reproduce").main(grid) == 1
    assert words in capsys.readouterr().out
    assert not Path("work_dirs/sclip").exists()


TOOLS = {
    "test": [str(CONFIGS / "sclip.py")],
    "attention": ["a.png", "--points", "1,1"],
    "report": [],
    "reproduce": ["--methods", "sclip"],
    "prepare_data": ["verify", "voc21"],
    "app": [],
    "speed": [],
    "toy_world": [],
    "toy_train": [],
    "toy_guide_train": [],
}


class Seen(Exception):
    """Carries the parser of a tool out of it."""


def actions_of(parser):
    """The arguments of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from actions_of(inner)
        else:
            yield action


@pytest.mark.parametrize("name", TOOLS)
def test_every_number_among_a_tool_s_arguments(name, monkeypatch, capsys):
    tool = load_tool(name)

    def seen(self, *_):
        raise Seen(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_args", seen)
        with pytest.raises(Seen) as caught:
            tool.main([])
    for action in actions_of(caught.value.args[0]):
        assert action.type not in (int, float), action.option_strings
        if getattr(action.type, "__module__", "") != "sclip_seg.command":
            continue
        for value in ("abc", "nan", "inf", "-inf", "-1", "-0.5", "1e400", "9" * 5000, "", "1,5"):
            count = action.nargs if isinstance(action.nargs, int) else 1
            with pytest.raises(SystemExit) as ended:
                tool.main(
                    [*TOOLS[name], f"{action.option_strings[0]}={value}"][: None if count == 1 else -1]
                    + ([] if count == 1 else [action.option_strings[0], *[value] * count])
                )
            assert ended.value.code == 2
            told = capsys.readouterr().err
            assert told.startswith("error: "), value
            assert len(told.splitlines()) == 1


class Sizes(TypedDict, total=False):
    crop: Count | None
    padding: Literal["stretch", "symmetric"]


@checked
class Part:
    def __init__(self, scale: Positive, window: Sizes | None = None, blocks: tuple[Count, ...] = (1,)) -> None:
        self.scale = scale


@given(st.floats() | st.integers() | st.text() | st.none() | st.booleans() | st.lists(st.integers()))
def test_a_share_is_a_finite_number_from_0_to_1(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and 0 <= value <= 1:
        check("share", value, Share)
    else:
        with pytest.raises(InputError, match=r"share is .*; it must be a finite number from 0 to 1"):
            check("share", value, Share)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (dict(scale="1"), "Part.scale is '1'; it must be a finite number above 0, up to 1000000"),
        (dict(scale=0), "Part.scale is 0; "),
        (dict(scale=1, window=3), "Part.window is 3; it must be a dict of crop, padding, or None"),
        (
            dict(scale=1, window=dict(crop=0)),
            "Part.window.crop is 0; it must be a whole number from 1 to 1000000, or None",
        ),
        (
            dict(scale=1, window=dict(padding="wrap")),
            "Part.window.padding is 'wrap'; it must be 'stretch' or 'symmetric'",
        ),
        (dict(scale=1, window=dict(crp=1)), "Part.window has no key 'crp'; did you mean crop?"),
        (dict(scale=1, blocks=(1, 0)), r"Part.blocks\[1\] is 0; "),
        (dict(scale=1, blocks=3), "Part.blocks is 3; it must be a list of"),
        (dict(scale=1, blks=3), "Part: .*'blks'"),
        ({}, "Part: .*'scale'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(settings, told):
    with pytest.raises(InputError, match=told):
        Part(**settings)


def test_what_is_right_is_taken():
    assert Part(2, dict(crop=None), [3, 4]).scale == 2


@pytest.mark.parametrize(
    "settings", [dict(iou_threshold=math.nan), dict(coarse_threshold=2), dict(min_area=1.5), dict(mask_weight="a")]
)
def test_settings_of_the_refinement_by_sam(settings):
    with pytest.raises(InputError, match=rf"SAMRefinement\.{next(iter(settings))} is "):
        SAMRefinement(None, **settings)
