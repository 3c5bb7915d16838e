"""Names that weights go by: wrappers, larger models, transformers' CLIP; and numbers that are none."""

import warnings
from pathlib import Path

import pytest
import torch
from conftest import TINY
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.layouts import unwrapped

TAIL = dict(type="LastBlock", attention="qk")
WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")


@pytest.fixture(scope="module")
def donor(build_dense) -> DenseCLIP:
    return build_dense(TAIL)


@pytest.fixture
def state(donor) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in donor.clip.state_dict().items()}


def load(tmp_path: Path, arch: str, content: object) -> DenseCLIP:
    torch.save(content, tmp_path / "a.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DenseCLIP(arch, str(tmp_path / "a.pt"), TAIL, seed=9)


def refusal(tmp_path: Path, arch: str, content: object) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, arch, content)
    assert "\n" not in str(caught.value)
    assert "a.pt" in str(caught.value)
    return str(caught.value)


@given(st.lists(st.sampled_from(WRAPPERS), max_size=4), st.lists(st.sampled_from(WRAPPERS), max_size=2))
def test_any_order_of_wrappers_is_taken_off(before, within):
    names = ["visual.class_embedding", "visual.proj", "ln_final.weight"]
    wrapped = {"".join(before) + name.replace("visual.", "visual." + "".join(within)): torch.ones(1) for name in names}
    assert set(unwrapped(wrapped, Path("x"), ("visual.class_embedding",))) == set(names)


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(InputError, match="two tensors for one name"):
        unwrapped({"module.a": torch.ones(1), "a": torch.ones(1)}, Path("x"), ("a",))


@pytest.mark.parametrize("prefix", ["model.", "module.model.", "teacher.backbone.", "clip_model.", "net._orig_mod."])
def test_a_clip_within_a_larger_model_is_found(prefix, tmp_path, tiny, donor, state):
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    assert load(tmp_path, tiny, {"state_dict": wrapped}).digest == donor.digest
    wrapped["loss.temperature"] = torch.ones(1)
    torch.save(wrapped, tmp_path / "b.pt")
    with pytest.warns(UserWarning, match=r"1 other tensors are not, e\.g\. loss\.temperature"):
        assert DenseCLIP(tiny, str(tmp_path / "b.pt"), TAIL).digest == donor.digest


def test_of_student_and_teacher_the_teacher_is_read(tmp_path, tiny, donor, state):
    both = {f"student.{name}": torch.zeros_like(tensor) for name, tensor in state.items()}
    both |= {f"teacher.{name}": tensor for name, tensor in state.items()}
    assert load(tmp_path, tiny, both).digest == donor.digest
    parts = {"student": {n: torch.zeros_like(t) for n, t in state.items()}, "teacher": state}
    assert load(tmp_path, tiny, parts).digest == donor.digest
    two = {f"{side}.{name}": tensor for side in ("model", "net") for name, tensor in state.items()}
    assert "several models (model., net.)" in refusal(tmp_path, tiny, two)


def test_names_of_a_text_tower_of_its_own_are_read(tmp_path, tiny, donor, state):
    own = ("visual.", "logit_scale")
    apart = {name if name.startswith(own) else f"text.{name}": tensor for name, tensor in state.items()}
    assert load(tmp_path, tiny, apart).digest == donor.digest


def test_constants_that_some_versions_kept_are_left_out(tmp_path, tiny, donor, state):
    extra = dict(input_resolution=torch.tensor(32), context_length=77, vocab_size=torch.tensor(49408))
    assert load(tmp_path, tiny, state | extra | {"attn_mask": torch.zeros(77, 77)}).digest == donor.digest


@pytest.fixture(scope="module")
def theirs():
    """A CLIPModel of transformers' with the tiny tower's sizes, and random weights."""
    transformers = pytest.importorskip("transformers")
    vision, text = TINY["vision_cfg"], TINY["text_cfg"]
    config = transformers.CLIPConfig(
        vision_config=dict(
            hidden_size=vision["width"],
            intermediate_size=4 * vision["width"],
            num_hidden_layers=vision["layers"],
            num_attention_heads=vision["width"] // vision["head_width"],
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
        ),
        text_config=dict(
            hidden_size=text["width"],
            intermediate_size=4 * text["width"],
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            vocab_size=text["vocab_size"],
            eos_token_id=49407,
        ),
        projection_dim=TINY["embed_dim"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = transformers.CLIPModel(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def test_transformers_clip_computes_the_same(theirs, tmp_path, register, pictures):
    tiny = register("tiny_for_theirs", TINY)
    theirs.save_pretrained(tmp_path)
    dense, image = DenseCLIP(tiny, str(tmp_path), TAIL), pictures(2, 32, 32)
    tokens = torch.randint(1, 49000, (2, 77))
    tokens[:, 9] = 49407
    tokens[:, 10:] = 0
    found = theirs(input_ids=tokens, pixel_values=image)
    expected = found.image_embeds, found.text_embeds
    own = dense.clip.encode_image(image, normalize=True), dense.clip.encode_text(tokens, normalize=True)
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert dense.inputs.act == "quickgelu(config)"


@pytest.mark.parametrize(
    "lost", ["self_attn.k_proj.bias", "visual_projection.weight", "text_model.final_layer_norm.bias"]
)
def test_transformers_clip_without_a_part_is_refused(lost, theirs, tmp_path, tiny):
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.endswith(lost)}
    message = refusal(tmp_path, tiny, state)
    assert "lacks a part" in message or "missing" in message
    odd = {name: torch.tensor(1.0) if name.endswith(lost) else tensor for name, tensor in theirs.state_dict().items()}
    refusal(tmp_path, tiny, odd)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["patch_embed.proj.weight", "blocks.0.norm1.weight"], "timm's layout"),
        (["visual.trunk.pos_embed"], "timm tower"),
        (["image_encoder.pos_embed", "mask_decoder.x"], "Segment Anything"),
        (["visual.layer1.0.conv1.weight", "token_embedding.weight"], "ResNet"),
        (
            ["vision_model.embeddings.class_embedding", "vision_model.post_layernorm.weight"],
            "another model than CLIPModel",
        ),
        (["embeddings.patch_embeddings.projection.weight"], "plain vision transformer"),
        (["class_embedding", "transformer.resblocks.0.ln_1.weight"], "one tower"),
        (["params/img/embedding/kernel"], "JAX"),
        (["backbone.x", "decode_head.conv_seg.weight"], "mmsegmentation"),
        (["base_model.model.visual.lora_A.weight"], "LoRA"),
        (["model.diffusion_model.x"], "Stable Diffusion"),
        (["something", "else"], "missing"),
    ],
)
def test_another_layout_is_named(names, said, tmp_path, tiny):
    assert said in refusal(tmp_path, tiny, {name: torch.ones(2) for name in names})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["visual.proj", "logit_scale", "token_embedding.weight"])
def test_numbers_that_are_none_are_refused(name, value, tmp_path, tiny, state):
    state[name].view(-1)[-1] = value
    assert f"NaN or infinite numbers in 1 of its tensors, e.g. {name}" in refusal(tmp_path, tiny, state)


def test_numbers_too_large_for_fp32_are_refused(tmp_path, tiny, state):
    state["visual.proj"] = state["visual.proj"].double() * 1e300
    assert "NaN or infinite" in refusal(tmp_path, tiny, state)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_weights_of_no_floating_point_are_refused(dtype, tmp_path, tiny, state):
    state["visual.proj"] = state["visual.proj"].to(dtype)
    assert "no floating point" in refusal(tmp_path, tiny, state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_floating_points_are_read(dtype, tmp_path, tiny, state):
    dense = load(tmp_path, tiny, {name: tensor.to(dtype) for name, tensor in state.items()})
    assert all(torch.equal(t, state[n].to(dtype).float()) for n, t in dense.clip.state_dict().items())


SHAPES = st.lists(st.integers(0, 5), max_size=5)


@given(
    name=st.sampled_from(["logit_scale", "visual.proj", "visual.conv1.weight", "positional_embedding"]), shape=SHAPES
)
def test_any_other_shape_is_one_line(name, shape, tmp_path_factory, tiny, donor):
    state = {n: t.clone() for n, t in donor.clip.state_dict().items()} | {name: torch.ones(shape)}
    if name == "logit_scale" and state[name].numel() == 1:
        return
    assert name in refusal(tmp_path_factory.mktemp("shapes"), tiny, state)


@pytest.mark.parametrize("value", [[1.0, 2.0], 3, "text", None, {"x": 1}, (torch.ones(2),)], ids=str)
def test_other_things_where_tensors_are_expected(value, tmp_path, tiny, state):
    state["visual.proj"] = value
    assert "'visual.proj', a" in refusal(tmp_path, tiny, state)
