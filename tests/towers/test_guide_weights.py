"""A guide's weights: those of its own patches and positions, as authors and trainings keep them, read as data."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_guides import SAM, SAM_TINY, TINY, VITS, create, stirred, stock, write
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.towers import guide_weights, snapshot
from sclip_seg.towers.guide import SAMGuide, TimmGuide


@pytest.fixture(autouse=True)
def no_library_loads(monkeypatch):
    """Nothing but our reader touches a file."""

    def refuse(*_, **__):
        raise AssertionError("a library loads weights")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch.jit, "load", refuse)


def guide(name: str, content: object, tmp_path: Path, **others) -> TimmGuide:
    torch.save(content, tmp_path / "a.pth")
    arch, options = VITS.get(name, (SAM, SAM_TINY))
    kind = dict(side=128) if name == "sam" else {}
    return (SAMGuide if name == "sam" else TimmGuide)(arch, str(tmp_path / "a.pth"), options=options | others, **kind)


def refusal(name: str, content: object, tmp_path: Path, **others) -> str:
    with pytest.raises(InputError) as caught:
        guide(name, content, tmp_path, **others)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "a.pth") in message
    return message


def state_of(name: str) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in stock(name).state_dict().items()}


@pytest.mark.parametrize("patch", [4, 16])
@pytest.mark.parametrize("prefix", ["", "module.", "teacher.backbone.", "visual.trunk."])
def test_other_patches_are_refused(patch, prefix, tmp_path):
    other = create(VITS["dino"][0], **TINY, img_size=4 * patch, patch_size=patch).state_dict()
    message = refusal("dino", {prefix + key: tensor for key, tensor in other.items()}, tmp_path)
    assert f"3x{patch}x{patch}" in message
    assert "3x8x8" in message


def test_patches_of_another_layout_are_refused(tmp_path):
    """One channel; the matrix of a linear layer; sides exchanged."""
    state = state_of("dino")
    kernel = state["patch_embed.proj.weight"]
    for other in (kernel.sum(1, keepdim=True), kernel.flatten(1), kernel[:, :, :4], kernel[None]):
        assert "its patches are" in refusal("dino", state | {"patch_embed.proj.weight": other}, tmp_path)


@pytest.mark.parametrize("name", VITS)
def test_another_grid_of_positions_is_refused(name, tmp_path):
    state = state_of(name)
    more = F.pad(state["pos_embed"], (0, 0, 0, 9), value=0.1)
    assert "table of positions" in refusal(name, state | {"pos_embed": more}, tmp_path)
    assert "table of positions" in refusal(name, state_of(name), tmp_path, img_size=112)


WRAPPED = {
    "plain": lambda state: state,
    "MAE's": lambda state: {"model": state, "epoch": 3},
    "DINO's": lambda state: {
        "student": {f"module.backbone.{k}": torch.zeros_like(v) for k, v in state.items()},
        "teacher": {f"backbone.{k}": v for k, v in state.items()} | {"head.mlp.0.weight": torch.ones(2)},
    },
    "data parallel": lambda state: {"state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}},
    "averaged": lambda state: {"state_dict": {k: v + 1 for k, v in state.items()}, "state_dict_ema": state},
    "with a classifier": lambda state: state | {"head.weight": torch.ones(10, 48), "head.bias": torch.ones(10)},
}


@pytest.mark.filterwarnings("ignore:of .*what is under")
@pytest.mark.parametrize("how", WRAPPED)
def test_files_of_training_give_the_same_guide(how, tmp_path):
    assert (
        guide("dino", WRAPPED[how](state_of("dino")), tmp_path).digest
        == guide("dino", state_of("dino"), tmp_path).digest
    )


def test_dinov2s_own_names(tmp_path):
    """A position for the class token, registers and a mask token, which timm keeps otherwise."""
    state = state_of("registers")
    own = {k: v for k, v in state.items() if k not in ("reg_token", "cls_token", "pos_embed")}
    of_class = torch.full((1, 1, 48), 0.25)
    own["register_tokens"], own["mask_token"] = state["reg_token"], torch.zeros(1, 48)
    own["pos_embed"] = torch.cat([of_class, state["pos_embed"]], 1)
    own["cls_token"] = state["cls_token"] - of_class
    found = guide("registers", own, tmp_path).model.state_dict()
    for key, tensor in state.items():
        torch.testing.assert_close(found[key], tensor, msg=key)


def test_segment_anythings_own_names(tmp_path):
    state = state_of("sam")
    own = {f"image_encoder.{key.replace('mlp.fc', 'mlp.lin')}": tensor for key, tensor in state.items()}
    own |= {"mask_decoder.iou_token.weight": torch.ones(1, 4), "prompt_encoder.x": torch.ones(2)}
    with pytest.warns(UserWarning, match="2 other tensors are not"):
        found = guide("sam", own, tmp_path)
    assert found.digest == guide("sam", state, tmp_path).digest


@pytest.mark.parametrize("name", ["dino", "bare", "sam"])
def test_what_is_missing_or_no_number_is_refused(name, tmp_path):
    state = state_of(name)
    key = "blocks.1.attn.qkv.weight"
    assert "1 missing, e.g. blocks.1.attn.qkv.weight" in refusal(
        name, {k: v for k, v in state.items() if k != key}, tmp_path
    )
    assert "1 unknown, e.g. blocks.9.x" in refusal(name, state | {"blocks.9.x": torch.ones(1)}, tmp_path)
    assert "NaN" in refusal(name, state | {key: state[key] * float("nan")}, tmp_path)
    assert "no floating point" in refusal(name, state | {key: state[key].long()}, tmp_path)
    assert "of another shape" in refusal(name, state | {key: state[key][:, :4]}, tmp_path)
    assert "a list, where a tensor" in refusal(name, state | {key: [1.0]}, tmp_path)


def test_a_classifier_of_other_classes_lets_no_block_be_missing(tmp_path):
    """timm is not strict where the number of classes differs."""
    arch, options = "vit_tiny_patch16_224.augreg_in21k", TINY | dict(img_size=64)
    state = stirred(create(arch, **options, num_classes=0)).state_dict()
    torch.save({k: v for k, v in state.items() if not k.startswith("blocks.1")}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"missing, e\.g\. blocks\.1"):
        TimmGuide(arch, str(tmp_path / "a.pth"), options=options)


@pytest.mark.parametrize("key", sorted(guide_weights.NOT_OPTIONS))
def test_no_option_of_timms_names_weights(key, tmp_path):
    arch, options = VITS["dino"]
    with pytest.raises(InputError, match=f"options hold '{key}'"):
        TimmGuide(arch, None, options=options | {key: str(tmp_path)})


@pytest.mark.parametrize("options", [dict(depth="many"), dict(no_such_option=1), dict(embed_dim=7)], ids=str)
def test_options_that_timm_does_not_take_are_one_line(options):
    with pytest.raises(InputError, match="timm cannot build"):
        TimmGuide(VITS["dino"][0], None, options=options)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_what_is_fetched_goes_through_the_same_reader(suffix, tmp_path, monkeypatch):
    arch, options = VITS["dino"]
    own = {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}[suffix]
    save_file(state_of("dino"), tmp_path / own) if suffix == ".safetensors" else torch.save(
        state_of("dino"), tmp_path / own
    )
    kept = {own: str(tmp_path / own)}
    monkeypatch.setattr(snapshot, "try_to_load_from_cache", lambda name, file, revision: kept.get(file))
    monkeypatch.setattr(snapshot, "hf_hub_download", lambda *_, **__: pytest.fail("the network was asked"))
    found = TimmGuide(arch, "timm", options=options, folder=str(tmp_path / "none"))
    assert found.digest == guide("dino", state_of("dino"), tmp_path).digest


def test_folders_and_named_folders_are_taken(tmp_path):
    arch, options = VITS["dino"]
    Path(write("dino", tmp_path)).rename(tmp_path / "model.safetensors")
    digests = {TimmGuide(arch, name, options=options).digest for name in (str(tmp_path), f"local-dir:{tmp_path}")}
    assert len(digests) == 1


def test_published_guides_need_no_resampling():
    """The native grid of each is that of its published file, so another grid is a mistake."""
    for arch, count in (
        ("vit_base_patch8_224.dino", 28),
        ("vit_small_patch8_224.dino", 28),
        ("vit_base_patch16_224.dino", 14),
        ("vit_base_patch14_reg4_dinov2.lvd142m", 37),
        ("vit_base_patch16_224.mae", 14),
    ):
        model = timm.create_model(arch, pretrained=False, depth=1, embed_dim=12, num_heads=1)
        assert model.patch_embed.grid_size == (count, count)
