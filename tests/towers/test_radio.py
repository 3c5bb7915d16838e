"""RADIO as a trunk: small files in NVIDIA's layout against float64 formulas; what is refused, and in what words."""

import sys

import numpy as np
import pytest
import tiny_radio
import torch
import torch.nn.functional as F
from formulas_radio import adapted, arrays, tokens, under
from safetensors.torch import save_file
from tail_settings import tail_settings
from tiny_radio import JOINT, NAME, PATCH, PREFIX, checkpoint, saved, v1, v2

from sclip_seg.errors import InputError
from sclip_seg.registry import TAILS
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.kinds import outline
from sclip_seg.towers.radio import SHAPES, WORDS, Words
from sclip_seg.words.text import TextBank

PLAIN = dict(type="LastBlock", attention="qk")
SIZES = [(48, 48), (24, 40), (72, 16), (61, 35)]
pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")


@pytest.fixture(scope="module", autouse=True)
def known(tiny, tmp_path_factory):
    """The tiny RADIO, its words those of the tiny CLIP."""
    tiny_radio.known(tiny, tmp_path_factory.mktemp("words"))
    yield
    del SHAPES[NAME]


def build(path: str, tail: dict | None = None, **settings) -> DenseCLIP:
    return DenseCLIP(NAME, path, tail or PLAIN, **settings)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rule", [None, "radio_corners"])
@pytest.mark.parametrize("kind", [v1, v2])
def test_features_equal_the_formula(kind, rule, size, tmp_path, pictures):
    content = checkpoint(kind, named=kind is v1)
    dense, state = build(saved(tmp_path, content), positions=rule), arrays(content["state_dict"])
    image = pictures(2, *size)
    trace = dense.trace(image, blocks=(-1,))
    for window in range(2):
        x, grid = tokens(image[window].double().numpy(), state, corners=rule is not None)
        assert grid == trace.grid
        own = trace.hidden(-1)[window].double().numpy()
        assert np.abs(own[[1, 0, 2, 3, 4, *range(PREFIX, len(own))]] - x).max() < 1e-4
        head = under(state, "_heads.siglip2." if kind is v1 else "_heads.1.")
        found = dense(image)[window].flatten(1).T.double().numpy()
        assert np.abs(found - adapted(x[PREFIX:], head)).max() < 1e-4
        summary = F.normalize(torch.from_numpy(adapted(x[1:2], head)), dim=1)
        torch.testing.assert_close(dense.summary(image)[window, None].double(), summary, rtol=0, atol=1e-5)
        sam = under(state, "_feature_projections.sam." if kind is v1 else "_feature_projections.2.")
        for_sam = dense.tower.for_sam(trace.hidden(-1)[:, PREFIX:])[window].double().numpy()
        assert np.abs(for_sam - adapted(x[PREFIX:], sam)).max() < 1e-4


def test_the_rules_of_positions_are_far_apart(tmp_path, pictures):
    path, image = saved(tmp_path), pictures(1, 24, 40)
    one, other = (F.normalize(build(path, positions=rule)(image), dim=1) for rule in ("radio", "radio_corners"))
    assert (one - other).abs().max() > 0.05
    assert torch.equal(one, F.normalize(build(path)(image), dim=1))
    with pytest.raises(InputError, match="positions is 'maskclip'; choose one of radio, radio_corners"):
        build(path, positions="maskclip")


def test_a_normaliser_comes_before_the_adaptors_of_patches(tmp_path, pictures):
    content = checkpoint(normalised=True)
    dense, state, image = build(saved(tmp_path, content)), arrays(content["state_dict"]), pictures(1, 24, 40)
    x, _ = tokens(image[0].double().numpy(), state, corners=False)
    normed = (x[PREFIX:] - state["_feature_normalizer.mean"]) @ state["_feature_normalizer.tx"].T
    found = dense(image)[0].flatten(1).T.double().numpy()
    assert np.abs(found - adapted(normed, under(state, "_heads.siglip2."))).max() < 1e-4
    summary = adapted(x[1:2], under(state, "_heads.siglip2."))[0]
    own = dense.summary(image)[0].double().numpy()
    assert np.abs(own - summary / np.sqrt(summary @ summary)).max() < 1e-5


@pytest.mark.parametrize(
    ("entry", "slot"),
    [(dict(), 1), (dict(token_slot=3), 3), (dict(name="anything", type="siglip2"), 1), (dict(name="siglip2-g"), 1)],
    ids=str,
)
def test_the_teacher_is_found_by_type_or_name_and_its_token_goes_first(entry, slot, tmp_path):
    content = checkpoint(**entry)
    dense = build(saved(tmp_path, content))
    rows = content["state_dict"]["base_model.patch_generator.cls_token.token"]
    assert torch.equal(dense.clip.visual.class_embedding[0], rows[slot])
    assert sorted(dense.clip.visual.class_embedding[:, 0].tolist()) == sorted(rows[:, 0].tolist())
    name = content["args"].teachers[1]["name"]
    head = content["state_dict"][f"_heads.{name}.fc1.weight"]
    assert torch.equal(dense.clip.visual.head.fc1.weight, head)


def test_the_averaged_weights_go_first_and_wrappers_come_off(tmp_path, pictures):
    content = checkpoint()
    averaged = {f"module.{name}": 1.5 * tensor for name, tensor in content["state_dict"].items()}
    image = pictures(1, 24, 40)
    plain = build(saved(tmp_path, content))
    other = build(saved(tmp_path, content | dict(state_dict_ema=averaged)))
    assert torch.equal(other.clip.visual.embedder.weight, 1.5 * plain.clip.visual.embedder.weight)
    assert other.digest != plain.digest
    assert not torch.allclose(other(image), plain(image), atol=1e-2)


def test_what_is_said_of_it(tmp_path, tiny):
    dense = build(saved(tmp_path))
    assert (dense.words, dense.position_rule, dense.patch, dense.tower.prefix) == (tiny, "radio", PATCH, PREFIX)
    assert dense.inputs.act == "gelu(file)"
    assert dense.mean == pytest.approx((0.4, 0.5, 0.6))
    assert dense.std == pytest.approx((0.2, 0.3, 0.25))
    found = outline("c-radio_v3-l")
    assert (found.kind, found.depth, found.prefix, found.has_class_token) == ("RADIO", 24, 8, True)
    with pytest.raises(InputError, match="trained with GELU"):
        build(saved(tmp_path), quick_gelu=True)


def test_words_are_those_of_the_text_file(tmp_path, tiny, build_dense):
    dense = build(saved(tmp_path))
    state = torch.load(WORDS[tiny].weights, weights_only=True)
    clip = build_dense().clip
    clip.load_state_dict(state)
    tokens = torch.randint(1, 400, (3, 77), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dense.clip.encode_text(tokens), clip.encode_text(tokens))


def words() -> TextBank:
    features = F.normalize(torch.randn(3, JOINT, generator=torch.Generator().manual_seed(3)), dim=1)
    return TextBank(features, torch.arange(3), 3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_tail_reads_it_in_every_precision(precision, tmp_path, pictures):
    path = saved(tmp_path, checkpoint(normalised=True))
    for tail in sorted(TAILS.module_dict):
        dense = build(path, tail_settings(tail))
        dense.set_precision(precision)
        for image in (pictures(2, 40, 48), torch.zeros(1, 3, 48, 40)):
            assert dense.score(image, words()).isfinite().all(), tail


def test_a_picture_does_not_depend_on_its_neighbour(tmp_path, pictures):
    dense, image = build(saved(tmp_path), dict(type="RADSeg")), pictures(2, 24, 40)
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)


def test_random_weights_go_by_their_seed(pictures):
    image = pictures(1, 24, 40)
    one, again, other = (DenseCLIP(NAME, None, PLAIN, seed=seed)(image) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_the_layout_of_hugging_face_has_no_adaptor_for_words(tmp_path):
    state = tiny_radio.trunk("radio_model.model.")
    state |= {
        "radio_model.input_conditioner.norm_mean": torch.zeros(3, 1, 1),
        "radio_model.summary_idxs": torch.ones(2),
    }
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"trunk without the adaptor for words.*torch\.hub.*pth\.tar"):
        build(str(tmp_path))


def change(content: dict, name: str, tensor=None) -> dict:
    """A state dict without a tensor, or with another in its place."""
    state = {key: value for key, value in content["state_dict"].items() if key != name or tensor is not None}
    return content | dict(state_dict=state | ({name: tensor} if tensor is not None else {}))


START = "base_model.patch_generator."
BROKEN = {
    "no RADIO": (lambda c: dict(state_dict={"blocks.0.norm1.weight": torch.ones(3)}), "holds no RADIO"),
    "no arguments": (lambda c: dict(state_dict=c["state_dict"]), "does not say its teachers"),
    "odd teachers": (lambda c: c | dict(args=dict(teachers="siglip2")), "does not say its teachers"),
    "another teacher": (lambda c: c | dict(args=dict(teachers=[dict(name="clip")])), "has no teacher siglip2"),
    "words of a stranger": (
        lambda c: checkpoint(model="siglip3"),
        "was taught words by 'siglip3'; those of siglip2-so",
    ),
    "a token too many": (lambda c: checkpoint(token_slot=9), "the token 9, and has 5"),
    "an odd token": (lambda c: checkpoint(token_slot="1"), "the token '1'"),
    "no table": (lambda c: change(c, f"{START}pos_embed"), "table of positions"),
    "no square": (lambda c: change(c, f"{START}pos_embed", torch.zeros(1, 35, 32)), "35 positions, which is no square"),
    "other patches": (lambda c: change(c, f"{START}embedder.weight", torch.zeros(32, 27)), "patches of 8 pixels"),
    "a block too few": (lambda c: change(c, "base_model.blocks.1.norm1.bias"), "1 missing, e.g. blocks.1.norm1.bias"),
    "a block too many": (
        lambda c: change(c, "base_model.blocks.2.norm1.bias", torch.zeros(32)),
        "unknown, e.g. blocks.2",
    ),
    "no numbers": (lambda c: change(c, "base_model.blocks.1.norm1.bias", torch.full((32,), torch.nan)), "NaN"),
    "half an adaptor": (lambda c: change(c, "_heads.siglip2.final.2.weight"), "lacks fc1, or final and fc2"),
    "no words": (
        lambda c: c | dict(state_dict={k: v for k, v in c["state_dict"].items() if not k.startswith("_heads.siglip2")}),
        "lacks the adaptor of its teacher 'siglip2'",
    ),
    "spectral": (
        lambda c: change(c, "_heads.siglip2.fc1.parametrizations.weight.original", torch.zeros(28, 32)),
        "by its spectral norms",
    ),
    "odd pixels": (
        lambda c: change(c, "input_conditioner.norm_std", torch.zeros(3, 1, 1)),
        "three finite numbers above 0",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_file_is_refused_in_words(what, tmp_path):
    make, message = BROKEN[what]
    with pytest.raises(InputError, match=message):
        build(saved(tmp_path, make(checkpoint())))


def test_another_space_than_the_words_is_refused(tmp_path):
    content = checkpoint()
    seed = torch.Generator().manual_seed(2)
    content["state_dict"] |= v2("_heads.siglip2", 30, seed)
    with pytest.raises(InputError, match="speaks of 30 dimensions, and tiny of 24"):
        build(saved(tmp_path, content))


class Evil:
    """Runs when it is unpickled by a reader that builds objects."""

    def __reduce__(self):
        return (exec, ("import sys; sys.radio_was_run = True",))


def test_arguments_are_data_and_never_code(tmp_path):
    content = checkpoint()
    content["args"].extra = Evil()
    with pytest.raises(InputError, match="exec"):
        build(saved(tmp_path, content))
    assert not hasattr(sys, "radio_was_run")


def test_where_the_words_are_to_be_had(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(WORDS, "siglip2-tiny", Words(tiny, "hf-hub:nobody/nothing"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("sclip_seg.towers.snapshot.hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    with pytest.raises(InputError, match=r"model\.safetensors, tokenizer\.json .* at .*nobody/nothing"):
        build(saved(tmp_path, checkpoint(model="siglip2-tiny")), folder=str(tmp_path))


def test_where_the_file_is_to_be_had():
    with pytest.raises(InputError, match=r"no weights file data/weights/nowhere.*huggingface\.co/nvidia/C-RADIOv3"):
        build("data/weights/nowhere.pth.tar")


def test_words_of_siglip_in_transformers_names(register, tmp_path, monkeypatch):
    """So400m NaFlex, which open_clip has no weights of, comes from the folder of its repository's name."""
    transformers = pytest.importorskip("transformers")
    sizes = dict(vocab_size=90, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    torch.manual_seed(5)
    theirs = transformers.SiglipTextModel(
        transformers.SiglipTextConfig(**sizes, max_position_embeddings=9, projection_size=JOINT)
    ).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = {f"text_model.{name.removeprefix('text_model.')}": t for name, t in theirs.state_dict().items()}
    folder = tmp_path / "google" / "siglip"
    folder.mkdir(parents=True)
    save_file(state | {"logit_scale": torch.ones(1)}, folder / "model.safetensors")
    text = dict(context_length=9, vocab_size=90, width=32, heads=2, layers=2, mlp_ratio=2.0, no_causal_mask=True)
    text |= dict(proj_bias=True, pool_type="last", norm_kwargs={"eps": 1e-6}, act_kwargs={"approximate": "tanh"})
    vision = dict(image_size=32, layers=1, width=32, head_width=16, patch_size=8)
    name = register("tiny-siglip", dict(embed_dim=JOINT, custom_text=True, vision_cfg=vision, text_cfg=text))
    monkeypatch.setitem(WORDS, "siglip2-tiny", Words(name, "hf-hub:google/siglip"))
    dense = build(saved(tmp_path, checkpoint(model="siglip2-tiny")), folder=str(tmp_path))
    tokens = torch.randint(1, 90, (3, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(dense.clip.encode_text(tokens), theirs(tokens).pooler_output, rtol=1e-5, atol=1e-5)
    assert dense.words == name
