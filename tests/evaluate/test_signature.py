"""The one-line signature changes with everything that moves a score, and with nothing else."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from runs import cell
from safetensors.torch import save_file
from trees import make_tree

import sclip_seg.evaluate.result
import sclip_seg.towers.encoder
from sclip_seg.config import KEYS
from sclip_seg.evaluate import result
from sclip_seg.evaluate.result import code_digest, config_digest, settings_of_counts, short_hash, signature
from sclip_seg.towers.weights import build_clip
from sclip_seg.version import __version__

PLAIN = "model.backbone.tail."
# What is changed, to what, and the one part of the signature that says so.
MOVES = [
    ({PLAIN + "residual": False}, "tail"),
    ({PLAIN + "attention.type": "qq"}, "tail"),
    ({PLAIN + "attention": dict(type="naclip", sigma=3.0)}, "tail"),
    ({PLAIN + "attention_scale": 2.0}, "tail"),
    ({"model.backbone.seed": 1}, "backbone"),
    ({"model.backbone.positions": "maskclip"}, "positions"),
    ({"model.vocabulary": "voc21_plain"}, "vocabulary"),
    ({"model.templates": "plain"}, "templates"),
    ({"model.templates": ["a {}."]}, "templates"),
    ({"model.short_side": 64}, "size"),
    ({"model.short_side": None}, "size"),
    ({"model.long_side": 512}, "size"),
    ({"model.window.crop": 48}, "window"),
    ({"model.window.crop": None}, "window"),
    ({"model.window.stride": 32}, "window"),
    ({"model.window.padding": "symmetric"}, "window"),
    ({"model.logit_scale": 41}, "scale"),
    ({"model.background": 1}, "background"),
    ({"model.background_threshold": 0.2}, "background"),
    ({"model.min_area": 0.2}, "area"),
    ({"model.refine": [dict(type="PAMR")]}, "refine"),
    ({"model.precision": "bf16"}, "precision"),
]
REFINEMENTS = [
    [dict(type="PAMR", steps=5)],
    [dict(type="PAMR", steps=10)],
    [dict(type="PAMR", steps=10, dilations=(1, 2))],
    [dict(type="PAMR", steps=5), dict(type="PAMR", steps=5)],
]
STAYS = [
    {"model.window.batch": 1},
    {"model.text_cache": "elsewhere"},
    {"model.keep_scores": True},
    {"work_dir": "elsewhere"},
    {"test_dataloader.num_workers": 0},
    {"launcher": "pytorch"},
]


def parts(method="sclip", dataset="voc21", images=3, total=3, data="", **options):
    """The signature as a dict, from a cell on a tiny tower."""
    config, model = built(method, dataset, **options)
    line = signature(config, model, images, total, data)
    assert "\n" not in line
    return dict(part.split(":", 1) for part in line.split("|"))


def built(method="sclip", dataset="voc21", **options):
    config = cell(method, dataset, **{"model.window.crop": 32, "model.window.stride": 16} | options)
    model = MODELS.build(config.model)
    model.precision = "fp32" if model.precision == "auto" else model.precision
    return config, model


def changed(one, other):
    assert one.keys() == other.keys()
    return {key for key in one if one[key] != other[key]}


@pytest.fixture
def tower(tiny):
    return {"model.backbone.arch": tiny, "model.backbone.pretrained": None}


@pytest.mark.parametrize(("options", "part"), MOVES)
def test_changes_with(options, part, tower):
    assert changed(parts(**tower), parts(**tower, **options)) == {part}


@pytest.mark.parametrize("options", STAYS)
def test_does_not_change_with(options, tower):
    assert changed(parts(**tower), parts(**tower, **options)) == set()


def test_dataset_method_and_version(tower, monkeypatch):
    plain = parts(**tower)
    assert plain["method"] == "sclip"
    assert plain["version"] == __version__
    assert changed(plain, parts("clip", **tower)) == {"method", "tail"}
    assert "data" in changed(plain, parts(dataset="voc20", **tower))
    monkeypatch.setattr(sclip_seg.evaluate.result, "__version__", "9.9")
    assert changed(plain, parts(**tower)) == {"version"}


def test_picture_count(tower):
    assert parts(**tower)["data"] == "voc21[3]"
    assert parts(images=2, **tower)["data"] == "voc21[2/3]"
    assert parts(images=4, total=4, **tower)["data"] == "voc21[4]"


def test_data_digest(tower):
    assert changed(parts(data="a1", **tower), parts(data="b2", **tower)) == {"data"}
    assert parts(data="a1", images=2, **tower)["data"] == "voc21[2/3]#a1"


@pytest.fixture
def counted(tower, tmp_path, monkeypatch):
    """`counted(**options)`: what the counts of a picture depend on, for a cell whose data are there."""
    monkeypatch.chdir(tmp_path)
    make_tree("ade20k", Path("data"))

    def settings(**options):
        config, model = built(dataset="ade20k", **{**tower, **options})
        return settings_of_counts(config, model, DATASETS.build({**config.test_dataloader.dataset, "pipeline": []}))

    return settings


DATASET = "test_dataloader.dataset."
# What is changed, and which parts of the settings say so.
COUNTS = [
    ({"model.logit_scale": 41}, {"signature"}),
    ({"model.precision": "bf16"}, {"signature"}),
    ({DATASET + "reduce_zero_label": False}, {"label rule"}),
    ({DATASET + "ignore_index": 7}, {"label rule"}),
    ({DATASET + "metainfo": dict(classes=("sky", "floor"))}, {"classes", "label rule"}),
    (
        {DATASET + "pipeline": [dict(type="LoadPicture", imdecode_backend="pillow"), dict(type="LoadLabels")]},
        {"pipeline"},
    ),
    ({"test_evaluator": dict(type="PooledIoU", prefix="x")}, {"metric"}),
    ({"model.window.batch": 1}, set()),
    ({DATASET + "indices": 2}, set()),
    ({"work_dir": "elsewhere"}, set()),
    ({"test_dataloader.batch_size": 2}, set()),
]


@pytest.mark.parametrize(("options", "moved"), COUNTS)
def test_what_a_journal_is_believed_by(options, moved, counted):
    assert changed(counted(), counted(**options)) == moved


def test_a_journal_is_believed_by_the_same_code_device_and_libraries_only(counted, monkeypatch):
    plain = counted()
    assert short_hash(plain) == short_hash(json.loads(json.dumps(plain))), "plain data"
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "parameters", lambda self: iter([torch.empty(1, device="meta")]))
        assert changed(plain, counted()) == {"device"}
    kept = (result.code_digest, result._version)
    monkeypatch.setattr(result, "version", lambda name: "9.9")
    for once in kept:
        once.cache_clear()
    assert changed(plain, counted()) == {"versions", "code"}
    for once in kept:
        once.cache_clear()


def test_code_digest_sees_the_code(tmp_path):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("a = 1")
    other.write_text("a = 2")
    assert len({code_digest(), code_digest(str(one)), code_digest(str(other))}) == 3


def test_pixel_statistics_are_in_the_settings(counted, monkeypatch):
    plain = counted()
    other = {"model.backbone.mean": [0.5] * 3, "model.backbone.std": [0.5] * 3}
    assert "normalisation" in changed(plain, counted(**other))


def test_vocabulary_content_and_name(tower, tmp_path):
    words = [f"thing {index}" for index in range(21)]
    for folder, content in (("one", words), ("other", [*words[:-1], "thing; synonym"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text("\n".join(content) + "\n")
    (tmp_path / "renamed.txt").write_text("\n".join(words) + "\n")
    one, other, renamed = (
        parts(**tower, **{"model.vocabulary": str(tmp_path / path)})["vocabulary"]
        for path in ("one/mine.txt", "other/mine.txt", "renamed.txt")
    )
    assert one.startswith("mine#")
    assert other.startswith("mine#")
    assert one != other
    assert renamed == one.replace("mine", "renamed")


def test_templates_of_ones_own(tower):
    lists = (["a {}."], ["the {}."], ["a {}.", "the {}."])
    assert len({parts(**tower, **{"model.templates": templates})["templates"] for templates in lists}) == 3


def test_refinement_and_its_options(tower):
    found = [parts(**tower, **{"model.refine": steps})["refine"] for steps in REFINEMENTS]
    assert len({"none", *found}) == 5


def test_weights_and_activation(tiny, tmp_path):
    """Other weights under one file name, and the same weights with the other activation."""
    lines = []
    for seed, scale in ((0, 1.0), (1, 2.0)):
        path = tmp_path / str(seed) / "mine.safetensors"
        path.parent.mkdir()
        state = build_clip(tiny, True).state_dict()
        save_file({name: (scale * tensor.float()).contiguous() for name, tensor in state.items()}, path)
        lines.append(parts(**{"model.backbone.arch": tiny, "model.backbone.pretrained": str(path)}))
    assert changed(*lines) == {"backbone"}
    assert lines[0]["backbone"].startswith("tiny.mine.safetensors#")


def test_activation(register, tower):
    shape = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    register("plain_gelu", {"embed_dim": 24, "vision_cfg": shape, "text_cfg": text})
    own = tower | {"model.backbone.arch": "plain_gelu"}
    quick, plain = (parts(**own, **{"model.backbone.quick_gelu": value}) for value in (True, False))
    assert changed(quick, plain) == {"act"}


def test_config_digest_is_that_of_the_protocol():
    plain = cell("sclip")
    assert config_digest(plain) == config_digest(Config(json.loads(json.dumps(plain.to_dict()))))
    for key, value in (("work_dir", "x"), ("launcher", "pytorch"), ("custom_hooks", [dict(type="Progress")])):
        assert key in KEYS
        assert config_digest(cell("sclip", **{key: value})) == config_digest(plain)
    assert config_digest(cell("sclip", **{"model.logit_scale": 41})) != config_digest(plain)
    assert config_digest(cell("sclip", "ade20k")) != config_digest(plain)


def test_versions_of_packages_by_other_names(monkeypatch):
    """OpenCV without windows, and the forks of OpenMMLab's packages that are kept up."""
    have = {"opencv-python-headless": "5.0", "onedl-mmengine": "0.10.12", "torch": "2.14"}

    def of(name):
        if name not in have:
            raise PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(result, "version", of)
    monkeypatch.setattr(result, "PACKAGES", ("torch", "mmengine", "opencv-python"))
    result._version.cache_clear()
    found = result.versions()
    result._version.cache_clear()
    assert (found["torch"], found["mmengine"], found["opencv-python"]) == ("2.14", "onedl 0.10.12", "5.0")
