"""What the axes take: names of configs, paths of one's own, open_clip's names of towers."""

import json
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS
from safetensors.torch import save_file

from sclip_seg import axes
from sclip_seg.command import message_of
from sclip_seg.config import CONFIGS, choices, load_config
from sclip_seg.errors import InputError
from sclip_seg.evaluate.grid.cell import Cell
from sclip_seg.towers.encoder import DenseCLIP

QUICK = dict(tail=dict(type="LastBlock", attention="qk"))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("toy", "toy"),
        ("ViT-B-16/openai", "ViT-B-16.openai"),
        ("hf-hub:imageomics/bioclip@main", "hf-hub.imageomics.bioclip.main"),
        ("local-dir:/data/my clip/", "local-dir.data.my.clip"),
        ("my/tower.py", "tower"),
    ],
)
def test_choices_have_names_that_folders_can_have(name, short):
    assert axes.short(name) == short
    assert Cell("sclip", "toy", name).key == f"sclip/{short}/toy"


@pytest.mark.parametrize(
    ("name", "arch", "tag"),
    [
        ("ViT-B-16/openai", "ViT-B-16", "openai"),
        ("ViT-B-16-SigLIP2/webli", "ViT-B-16-SigLIP2", "webli"),
        ("hf-hub:imageomics/bioclip", "hf-hub:imageomics/bioclip", None),
        ("local-dir:/data/my clip", "local-dir:/data/my clip", None),
    ],
)
def test_towers_by_open_clips_names(name, arch, tag):
    config = load_config("sclip", "toy", name)
    backbone = config.model.backbone
    assert (backbone.arch, backbone.pretrained, backbone.quick_gelu) == (arch, tag, "known")
    assert backbone.tail.type == "LastBlock"
    assert config.axes == dict(method="sclip", dataset="toy", backbone=axes.short(name))


def test_configs_by_their_paths(tmp_path, monkeypatch):
    (tmp_path / "my").mkdir()
    shipped = Path(load_config("sclip", "toy", "toy").filename).parent / "_base_"
    for axis, name, own in (("backbones", "toy", "tower"), ("datasets", "toy", "data")):
        (tmp_path / "my" / f"{own}.py").write_text(
            (shipped / axis / f"{name}.py").read_text().replace("../", f"{shipped}/")
        )
    monkeypatch.chdir(tmp_path)
    plain, own = load_config("clip", "toy", "toy"), load_config("clip", "my/data.py", str(tmp_path / "my" / "tower.py"))
    assert own.model.backbone == plain.model.backbone
    assert own.test_dataloader == plain.test_dataloader
    assert own.axes == dict(method="clip", dataset="data", backbone="tower")


@pytest.mark.parametrize(
    ("dataset", "backbone", "said"),
    [
        (None, "my/tower.py", "there is no config my/tower.py for the backbone"),
        ("my/data.py", None, "there is no config my/data.py for the dataset"),
        (None, "opnai_vit_b16", "did you mean openai_vit_b16"),
        ("ViT-B-16/openai", None, "there is no dataset 'ViT-B-16/openai'"),
        (None, "a/b/c", "a tower of open_clip's is ARCH/TAG"),
    ],
)
def test_what_there_is_not_is_named(dataset, backbone, said):
    with pytest.raises(InputError) as caught:
        load_config("sclip", dataset, backbone)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-17/openai", "no model 'ViT-B-17'"),
        ("ViT-B-16/opnai", "neither a file nor a tag of ViT-B-16"),
        ("RN50/openai", "RN50 is a ResNet"),
        ("roberta-ViT-B-32/laion2b_s12b_b32k", "text tower of Hugging Face's"),
        ("local-dir:/nowhere", "there is no folder"),
    ],
)
def test_a_tower_that_cannot_be_is_refused_in_a_line(name, said):
    config = load_config("sclip", "toy", name, {"model.text_cache": None})
    with pytest.raises(InputError) as caught:
        MODELS.build(config.model)
    assert said in message_of(caught.value)
    assert "\n" not in message_of(caught.value)


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_known_of_weights_is_taken(quick, register, tmp_path):
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    arch = register("tiny_known", {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text})
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text} | ({"quick_gelu": True} if quick else {})
    save_file(DenseCLIP(arch, None, **QUICK).clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    content = {"model_cfg": model, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    dense = DenseCLIP(f"local-dir:{tmp_path}", None, quick_gelu="known", **QUICK)
    assert dense.quick_gelu == quick
    assert dense.inputs.act == ("quickgelu(config)" if quick else "gelu(config)")
    assert dense.mean == (0.1, 0.2, 0.3)


def test_a_bare_file_of_which_nothing_is_known_keeps_the_models_own(register, tmp_path):
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    arch = register("tiny_bare", {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text})
    torch.save(DenseCLIP(arch, None, **QUICK).clip.state_dict(), tmp_path / "some.pt")
    with pytest.warns(UserWarning, match="does not say how its weights were trained"):
        dense = DenseCLIP(arch, str(tmp_path / "some.pt"), quick_gelu="known", **QUICK)
    assert not dense.quick_gelu


def test_todays_towers_have_configs():
    have = choices(CONFIGS)["backbone"]
    assert {"siglip2_vit_b16", "siglip2_vit_so400m", "pe_core_vit_b16", "pe_core_vit_l14"} <= set(have)
    assert {"eva02_vit_b16", "eva02_vit_l14", "metaclip2_vit_h14"} <= set(have)
    assert {"datacomp_vit_l14", "dfn_vit_l14", "dfn_vit_h14", "bioclip_vit_b16"} <= set(have)
    assert {f"{who}clip_vit_b32" for who in ("remote", "geors", "sky")} <= set(have)
