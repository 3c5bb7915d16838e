"""How a config is chosen and overridden, and what is said of names, options and files that are none."""

import os
from pathlib import Path

import pytest
from runs import cell

from sclip_seg.config import load_config, method_file
from sclip_seg.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"


def test_stale_exports_leak_nowhere(monkeypatch):
    monkeypatch.setenv("SCLIP_DATASET", "ade20k")
    monkeypatch.setenv("SCLIP_BACKBONE", "toy")
    assert cell("sclip").axes == dict(method="sclip", dataset="voc21", backbone="openai_vit_b16")
    assert cell("sclip", "voc20").axes.backbone == "openai_vit_b16"
    with pytest.raises(InputError):
        cell("sclip", "nowhere")
    assert (os.environ["SCLIP_DATASET"], os.environ["SCLIP_BACKBONE"]) == ("ade20k", "toy")


def test_choice_does_not_stay_in_the_shell(monkeypatch):
    monkeypatch.delenv("SCLIP_DATASET", raising=False)
    assert cell("sclip", "ade20k").axes.dataset == "ade20k"
    assert "SCLIP_DATASET" not in os.environ


@pytest.mark.parametrize(
    ("method", "dataset", "backbone", "message"),
    [
        ("sclipp", None, None, r"no config .*sclipp\.py; did you mean "),
        ("sclip", "voc", None, r"no dataset 'voc'; did you mean voc2[01] or voc2[01]\?"),
        ("sclip", "imagenet", None, r"no dataset 'imagenet'; there are: ade20k, ade847, "),
        ("sclip", None, "vit_b16", r"no backbone 'vit_b16'; did you mean .*dfn_vit_b16"),
        ("nothing", None, None, r"there are: cass, clearclip, clip, clip_surgery, cliper, cliptrase, "),
    ],
)
def test_wrong_names(method, dataset, backbone, message):
    with pytest.raises(InputError, match=message):
        cell(method, dataset, backbone)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("modle.short_side", "'modle.short_side'; did you mean model?"),
        ("model.shortside", "model (OpenVocabSegmentor) has no key 'shortside'; did you mean short_side?"),
        ("model.backbone.archi", "model.backbone (DenseCLIP) has no key 'archi'; did you mean arch?"),
        ("model.backbone.tail.ffn", "(LastBlock) has no key 'ffn'; there are: attention, attention_scale, mlp, "),
        ("model.backbone.tail.type", "model.backbone.tail is of type '1', and there is no such tail; there are: "),
        ("model.backbone.tail.attention.type", "there is no such attention"),
        ("test_dataloader.num_worker", "test_dataloader has no key 'num_worker'; did you mean num_workers"),
        ("test_evaluator.iou_metrics", "test_evaluator (PooledIoU) has no key 'iou_metrics'"),
        ("settings.background_threshold", "would change nothing; override model"),
        ("dataset.data_root", "would change nothing; override test_dataloader.dataset"),
    ],
)
def test_unknown_or_useless_option(key, message):
    with pytest.raises(InputError) as caught:
        cell("sclip", **{key: "1"})
    assert message in str(caught.value)


def test_options_are_applied():
    config = cell("sclip", **{"model.window.crop": 336, "model.backbone.tail.attention.type": "qq"})
    assert config.model.window == dict(crop=336, stride=112)
    assert config.model.backbone.tail.attention == dict(type="qq")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = dict()", r"has the unknown key 'models'; did you mean model\?"),
        ("model = dict(", "does not load: SyntaxError"),
        ("_base_ = 'nowhere.py'", "does not load: .*nowhere.py"),
        ("model = dict(type='OpenVocabSegmentor')", "is no method's config, it lacks axes, test_dataloader"),
    ],
)
def test_faulty_file(text, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_a_method_is_named_or_given_by_its_file(tmp_path):
    assert method_file("sclip") == CONFIGS / "sclip.py"
    path = tmp_path / "sclip.py"
    path.touch()
    for form in (path, str(path), tmp_path / "." / "sclip.py"):
        assert method_file(form) == path


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("slip", "there is no method 'slip'; did you mean sclip"),
        ("_words", "there is no method '_words'"),
        ("", "there is no method ''"),
        ("..", "there is no method"),
        ("configs/sclip", "there is no config configs/sclip"),
        ("slip.py", "there is no config slip.py"),
        (CONFIGS / "slip.py", "slip.py; did you mean sclip"),
        ("a\0b.py", "there is no config"),
    ],
)
def test_what_is_no_method(method, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        method_file(method)
