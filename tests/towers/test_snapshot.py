"""Folders and repositories of the hub: which file is meant, which model a config describes, what is refused first."""

import json
import socket
from pathlib import Path

import open_clip
import pytest
from huggingface_hub.utils import LocalEntryNotFoundError

from sclip_seg.errors import InputError
from sclip_seg.towers import kinds, snapshot, stock, weights
from sclip_seg.towers.encoder import DenseCLIP

TAIL = dict(type="LastBlock", attention="qk")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (["open_clip_model.safetensors", "model.safetensors", "pytorch_model.bin"], "open_clip_model.safetensors"),
        (["open_clip_pytorch_model.bin", "model.safetensors"], "open_clip_pytorch_model.bin"),
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors"], "model.safetensors.index.json"),
        (["pytorch_model.bin", "training_args.bin"], "pytorch_model.bin"),
        (["epoch_3.pt"], "epoch_3.pt"),
    ],
)
def test_the_file_that_a_folder_means(files, meant, tmp_path):
    folder = touch(tmp_path / "f", *files)
    assert snapshot.weights_in(str(folder)) == folder / meant
    assert weights.find("ViT-B-16", f"local-dir:{folder}", "none") == folder / meant


@pytest.mark.parametrize("files", [[], ["a.pt", "b.pt"], ["notes.txt"]], ids=str)
def test_a_folder_without_weights_says_what_it_has(files, tmp_path):
    with pytest.raises(InputError, match="no weights under a known name") as caught:
        snapshot.weights_in(str(touch(tmp_path / "f", *files)))
    assert ("name one of them" in str(caught.value)) == (len(files) > 1)


def test_the_hubs_cache_is_a_folder_too(tmp_path):
    root = tmp_path / "models--x--y"
    old, new = (touch(root / "snapshots" / name, "model.safetensors") for name in ("aaa", "bbb"))
    with pytest.raises(InputError, match="2 snapshots"):
        snapshot.weights_in(str(root))
    touch(root / "refs")
    for text in ("../../../..", "ccc"):
        (root / "refs/main").write_text(text)
        with pytest.raises(InputError, match="2 snapshots"):
            snapshot.weights_in(str(root))
    (root / "refs/main").write_text("bbb\n")
    assert snapshot.weights_in(str(root)) == new / "model.safetensors"
    assert snapshot.weights_in(str(old)) == old / "model.safetensors"


@pytest.mark.parametrize(
    "name", ["hf-hub:laion/CLIP", "hf-hub:", "hf-hub:../x", "hf-hub:a/b/c", "local-dir:", "local-dir:/no/where"]
)
@pytest.mark.parametrize("place", ["arch", "pretrained"])
def test_names_that_lead_nowhere_are_one_line(name, place, monkeypatch, tmp_path, tiny):
    def refuse(*_, **__):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snapshot, "hf_hub_download", refuse)
    arguments = (name, None) if place == "arch" else (tiny, name)
    with pytest.raises(InputError) as caught:
        DenseCLIP(*arguments, TAIL)
    assert "\n" not in str(caught.value)


def test_what_the_hub_has_is_taken_from_its_cache_or_fetched(tmp_path, monkeypatch):
    cached = {"model.safetensors": str(tmp_path / "kept")}
    monkeypatch.setattr(snapshot, "try_to_load_from_cache", lambda name, file, revision: cached.get(file))
    monkeypatch.setattr(snapshot, "hf_hub_download", lambda *_, **__: pytest.fail("the network was asked"))
    assert weights.find("ViT-B-16", "hf-hub:a/b", "") == tmp_path / "kept"
    asked = []

    class EntryNotFoundError(Exception):
        pass

    def fetch(name, file, revision):
        asked.append((name, file, revision))
        if file not in ("pytorch_model.bin", "config.json"):
            raise EntryNotFoundError(file)
        return str(tmp_path / file)

    cached.clear()
    monkeypatch.setattr(snapshot, "hf_hub_download", fetch)
    assert weights.find("ViT-B-16", "hf-hub:a/b@c", "") == tmp_path / "pytorch_model.bin"
    assert ("a/b", "config.json", "c") in asked


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-L-14-336", "ViT-B-32-quickgelu", "ViT-H-14", "ViT-bigG-14", "toy"])
def test_a_config_of_open_clips_is_known_by_its_content(name, tmp_path):
    content = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    assert stock.stock_name(tmp_path / "open_clip_config.json", content) == name


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (dict(vision_config=dict(patch_size=16)), "ViT-B-16"),
        (dict(), "ViT-B-32"),
        (
            dict(
                projection_dim=768,
                vision_config=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, patch_size=14)
                | dict(intermediate_size=4096, image_size=336),
                text_config=dict(hidden_size=768, num_attention_heads=12),
            ),
            "ViT-L-14-336",
        ),
        (
            dict(
                projection_dim=1024,
                vision_config=dict(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, patch_size=14)
                | dict(intermediate_size=5120),
                text_config=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
            ),
            "ViT-H-14",
        ),
    ],
)
def test_a_config_of_transformers_is_known_by_its_sizes(config, name, tmp_path):
    assert stock.stock_name(tmp_path / "config.json", {"model_type": "clip", **config}) == name


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"model_cfg": 3},
        {"model_cfg": {"vision_cfg": {}, "text_cfg": {}}},
        {"model_cfg": {"vision_cfg": {"layers": 7}, "text_cfg": {"hf_model_name": "evil/remote-code"}}},
        {"model_cfg": {"vision_cfg": {"timm_model_name": "x"}, "text_cfg": {}}},
    ],
    ids=str,
)
def test_a_config_that_no_stock_model_has_is_refused(content, tmp_path):
    (touch(tmp_path / "f", "open_clip_model.safetensors") / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        DenseCLIP(f"local-dir:{tmp_path / 'f'}", None, TAIL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("xlm-roberta-base-ViT-B-32", "text tower of Hugging Face's (xlm-roberta-base)"),
        ("roberta-ViT-B-32", "text tower of Hugging Face's"),
        ("nllb-clip-base-siglip", "text tower of Hugging Face's"),
        ("convnext_base", "picture tower of timm's convnext"),
        ("MobileCLIP2-S2", "picture tower of timm's fastvit"),
        ("swin_base_patch4_window7_224", "picture tower of timm's swin_transformer"),
        ("vit_relpos_medium_patch16_cls_224", "picture tower of timm's vision_transformer_relpos"),
        ("RN50", "ResNet"),
    ],
)
@pytest.mark.parametrize("pretrained", [None, "openai", "a.pt"])
def test_towers_that_are_not_read_are_refused_before_anything_is_built_or_fetched(arch, said, pretrained, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was built or fetched")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(weights, "find", refuse)
    with pytest.raises(InputError) as caught:
        DenseCLIP(arch, pretrained, TAIL)
    assert said in str(caught.value)
    assert arch in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_text_towers_of_hugging_face_are_all_among_them():
    for arch in open_clip.list_models():
        config = open_clip.get_model_config(arch)
        if "hf_model_name" in config["text_cfg"]:
            with pytest.raises(InputError, match="Hugging Face"):
                kinds.refuse_unread(arch, config)
