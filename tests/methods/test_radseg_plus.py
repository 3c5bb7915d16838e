"""RADSeg+: what RADIO gives in SAM's place, the labels that come of it, what is refused; SAM's decoders are tiny."""

import json
from pathlib import Path

import pytest
import tiny_radio
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from smooth_photos import looked, photo

from sclip_seg.errors import InputError
from sclip_seg.methods.radseg_plus import RADIORefinement, size_for_sam
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers.radio import SHAPES

SIDE, PATCH = 128, tiny_radio.PATCH
WORDS = ["sky", "grass", "dog", "wall"]


def save_sam(folder: Path, width: int = tiny_radio.SAM_WIDTH) -> str:
    """A SamModel whose neck takes tokens of that width, on as many patches as the tiny RADIO has of its input."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tower = dict(hidden_size=width, num_hidden_layers=1, num_attention_heads=2, global_attn_indexes=[0], window_size=4)
    sizes = dict(image_size=SIDE, patch_size=PATCH)
    config = transformers.SamConfig(
        vision_config=dict(**tower, **sizes, output_channels=16, num_pos_feats=8),
        prompt_encoder_config=dict(hidden_size=16, **sizes, mask_input_channels=8),
        mask_decoder_config=dict(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16),
    )
    model = transformers.SamModel(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """With the tiny RADIO, which is known as long, and the tiny SAM."""
    folder = tmp_path_factory.mktemp("plus")
    tiny_radio.known(tiny, folder)
    tiny_radio.saved(folder)
    save_sam(folder / "sam")
    yield folder
    del SHAPES[tiny_radio.NAME]


@pytest.fixture
def build(folder, tiny):
    """`build(refine, ...)`: a segmentor over the tiny RADIO."""

    def build_with(refine: list, tower: str = "radio.pth.tar", arch: str = tiny_radio.NAME, **tail):
        settings = dict(arch=arch, pretrained=str(folder / tower) if tower else None)
        model = OpenVocabSegmentor(
            backbone=dict(type="DenseCLIP", **settings, tail=tail or dict(type="RADSeg")),
            **dict(vocabulary=WORDS, templates="plain", short_side=None, precision="fp32", logit_scale=None),
            **dict(window=dict(crop=32, stride=24), stages=["Probabilities"], refine=refine),
        )
        model.prepare()
        return model.eval()

    return build_with


def step(folder: Path, **options: object) -> dict:
    loose = dict(iou_threshold=-1e9, coarse_threshold=0.2, min_area=4)
    return dict(type="RADIORefinement", checkpoint=str(folder / "sam")) | loose | options


@pytest.mark.parametrize("size", [(64, 64), (61, 75), (100, 40), (300, 10)], ids=str)
def test_the_size_that_sam_has(size):
    long, short = max(size), min(size)
    expected = {long: SIDE, short: max(1, int(short * (SIDE // PATCH) / long)) * PATCH}
    assert size_for_sam(size, SIDE, PATCH) == tuple(expected[side] for side in size)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (61, 75), (100, 40)], ids=str)
def test_radio_gives_the_neck_what_sam_would(size, build, folder):
    model = build([step(folder)])
    (picture,), (own,) = looked(model, [photo(*size)]), model.label_steps
    embedding, within = own.seen(picture)
    assert within == size_for_sam(size, SIDE, PATCH)
    assert embedding.shape == (16, SIDE // PATCH, SIDE // PATCH)
    image = F.interpolate(picture.image[None], within, mode="bilinear", align_corners=False)
    dense = model.backbone
    tokens = dense.tail.tokens(dense.trace(image))[:, dense.tower.prefix :]
    features = dense.tower.for_sam(tokens)[0].T.unflatten(1, tuple(side // PATCH for side in within))
    square = torch.zeros(len(features), SIDE // PATCH, SIDE // PATCH)
    square[:, : features.shape[1], : features.shape[2]] = features
    w = {k.removeprefix("vision_encoder.neck."): t for k, t in load_file(folder / "sam/model.safetensors").items()}
    x = F.conv2d(square[None], w["conv1.weight"])
    for conv, norm, padding in (("", "layer_norm1", 0), ("conv2.weight", "layer_norm2", 1)):
        x = F.conv2d(x, w[conv], padding=padding) if conv else x
        mean, spread = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        x = (x - mean) / (spread + 1e-6).sqrt() * w[f"{norm}.weight"][:, None, None] + w[f"{norm}.bias"][:, None, None]
    torch.testing.assert_close(embedding, x[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_labels_are_redrawn_by_what_is_left_of_the_probabilities(build, folder):
    absent = dict(type="Presence", threshold=0.5)
    plain, whole = build([absent]), build([absent, step(folder)])
    raw = [photo(61, 75, seed) for seed in (0, 1)]
    changed = 0
    for picture, again in zip(looked(plain, raw), looked(whole, raw), strict=True):
        maps = plain.refine(plain.score(picture), picture)
        labels = plain.label(maps, picture)
        (own,) = whole.label_steps
        refined = whole.label(whole.refine(whole.score(again), again), again)
        probability = maps.dense()  # one query a class, and 0 where a class has left
        assert torch.equal(refined, own.redraw(labels, probability, *own.seen(again)))
        assert set(refined.unique().tolist()) <= set(range(len(WORDS)))
        changed += int((refined != labels).sum())
    assert changed > 0


@torch.no_grad()
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_and_blank_pictures_are_finite(precision, build, folder):
    model = build([step(folder)])
    model.backbone.set_precision(precision)
    for raw in (photo(61, 75), torch.zeros(3, 61, 75, dtype=torch.uint8)):
        (picture,), (own,) = looked(model, [raw]), model.label_steps
        assert own.seen(picture)[0].isfinite().all()
        assert model.label(model.score(picture), picture).max() < len(WORDS)


def test_what_it_cannot_ask_is_refused(build, folder, tiny, tmp_path):
    with pytest.raises(InputError, match="asks RADIO what SAM would see"):
        build([step(folder)], tower="", arch=tiny)
    with pytest.raises(InputError, match="asks RADIO what SAM would see"):
        build([step(folder)], type="GEM", tower="radio.pth.tar", blocks=1)
    content = tiny_radio.checkpoint()
    content["args"].teachers[2]["name"] = "dino"
    tiny_radio.saved(folder, content, "without.pth.tar")
    with pytest.raises(InputError, match="no adaptor of SAM's features"):
        build([step(folder)], tower="without.pth.tar")
    other = save_sam(tmp_path / "other", width=16)
    with pytest.raises(InputError, match=r"a SAM of 20 channels on 16 patches a side, and the checkpoint's has 16 on"):
        build([step(folder, checkpoint=other)])


def test_a_checkpoint_without_the_neck_is_refused(folder, tmp_path):
    state = {name: t for name, t in load_file(folder / "sam/model.safetensors").items() if ".neck." not in name}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "sam/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"no SAM checkpoint: .* missing, e\.g\. vision_encoder\.neck"):
        RADIORefinement(str(tmp_path))
