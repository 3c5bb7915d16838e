"""Towers of every kind: against themselves, float64 formulas, and open_clip's own tower with their weights."""

from functools import partial

import formulas_towers as formulas
import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from formulas import correlation
from tail_settings import tail_settings
from tiny_towers import KINDS, build, own_twin, tiny_timm

from sclip_seg.errors import InputError
from sclip_seg.measure import sweep
from sclip_seg.registry import TAILS
from sclip_seg.towers import kinds
from sclip_seg.towers.kinds import outline
from sclip_seg.words.text import TextBank

MORE = {
    "MaskCLIP": dict(smooth_keys="released"),
    "CLIPSurgery": dict(feature_surgery=True),
    "CLIPtrase": dict(image_prior=True),
}
ATTENTIONS = {
    "qk": lambda p, prefix: correlation(p.q, p.k),
    "csa": lambda p, prefix: correlation(p.q, p.q) + correlation(p.k, p.k),
    "vv": lambda p, prefix: correlation(p.v, p.v),
    "naclip": partial(formulas.near, sigma=5.0),
}
# How the formulas see each kind: eps of its norms, the rest of `Weights`, the FFN's activation.
SEEN = {
    "siglip": (1e-6, {}, formulas.gelu),
    "pe": (1e-5, dict(rotary=dict(ref=(4, 4), offset=1.0, xy=True)), formulas.gelu),
    "pe without class": (1e-5, dict(rotary=dict(ref=(14, 14), offset=1.0, xy=True)), formulas.gelu),
    "eva02": (1e-6, dict(rotary=dict(ref=(16, 16), offset=0.0, xy=False)), formulas.gelu),
    "eva02 post-norm": (1e-6, dict(post_norm=True), formulas.gelu),
    "eva fused": (1e-6, {}, formulas.gelu),
    "clip": (1e-5, {}, formulas.gelu),
    "registers": (1e-5, {}, formulas.gelu),
    "mean": (1e-6, {}, formulas.gelu),
}


def arrays(module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}


def words(width: int = 64) -> TextBank:
    features = F.normalize(torch.randn(3, width, generator=torch.Generator().manual_seed(3)), dim=1)
    return TextBank(features, torch.arange(3), 3)


def test_every_kind_is_seen():
    assert KINDS.keys() == SEEN.keys()
    assert set(MORE) <= set(TAILS.module_dict)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tower_is_read_as_it_reads_itself(kind, pictures):
    dense, image = build(kind), pictures(2, 32, 32)
    dense.tail.reads = lambda depth: (*range(-depth - 1, 0),)
    trace = dense.trace(image)
    tokens, pooled = sweep.own_tokens(dense.clip.visual, image)
    assert (dense.patch, trace.grid, trace.prefix) == (8, (4, 4), dense.clip.visual.trunk.num_prefix_tokens)
    torch.testing.assert_close(dense(image).flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(trace.class_features(trace.hidden(-1)), F.normalize(pooled, dim=-1), rtol=0, atol=1e-5)
    own = []
    for block in dense.clip.visual.trunk.blocks:
        block.register_forward_hook(lambda module, inputs, output: own.append(output))
    dense.clip.visual(image)
    for block, output in enumerate(own):
        torch.testing.assert_close(trace.hidden(block), output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_features_equal_the_formula_on_another_grid(kind, name, pictures):
    eps, more, act = SEEN[kind]
    for residual in (True, False):
        settings = dict(type="LastBlock", attention=name, residual=residual, mlp=residual)
        dense, image = build(kind, settings), pictures(1, 24, 40)
        trace, visual = dense.trace(image), dense.clip.visual
        assert trace.grid == (3, 5)
        weights = formulas.Weights(arrays(visual.trunk.blocks[-1]), arrays(visual), 4, eps, **more)
        x = trace.before(-1)[0].detach().double().numpy()
        out = formulas.last_block(x, weights, trace.grid, trace.prefix, ATTENTIONS[name], residual, residual, act)
        own = formulas.joint(out[trace.prefix :], weights, pool_eps=eps)
        found = dense(image)[0].flatten(1).T.double().numpy()
        assert np.abs(found - own).max() < 1e-4 * np.abs(own).max()


@pytest.mark.parametrize("reading", ["values", "values_alone", "none"])
def test_the_readings_of_an_attention_pooling(reading, pictures):
    dense, image = build("siglip", attention_pool=reading), pictures(1, 32, 32)
    dense.tail.reads = lambda depth: (-2, -1)
    visual = dense.clip.visual
    weights = formulas.Weights({}, arrays(visual), 4, 1e-6)
    own = formulas.joint(dense.trace(image).hidden(-1)[0].double().numpy(), weights, reading)
    found = dense(image)[0].flatten(1).T.double().numpy()
    assert np.abs(found - own).max() < 1e-4 * np.abs(own).max()


def test_a_reading_that_a_tower_does_not_have_is_refused():
    with pytest.raises(InputError, match="pool by attention"):
        build("clip", attention_pool="none")
    with pytest.raises(InputError, match="attention_pool"):
        build("siglip", attention_pool="queries")


@pytest.mark.parametrize("tail", sorted(TAILS.module_dict))
@pytest.mark.parametrize("kind", ["clip", "eva fused"])
def test_every_tail_reads_the_same_weights_alike(kind, tail, register, pictures):
    """On open_clip's own tower they are held against formulas."""
    settings = tail_settings(tail) | MORE.get(tail, {})
    dense, image = build(kind, settings, depth=4), pictures(1, 40, 32)
    twin = own_twin(dense, settings, register)
    torch.testing.assert_close(dense(image, words()), twin(image, words()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense.score(image, words()), twin.score(image, words()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"clip", "eva fused"}))  # which the test above has
def test_every_tail_reads_every_kind_or_says_why_not(kind, pictures):
    for tail in sorted(TAILS.module_dict):
        settings = tail_settings(tail) | MORE.get(tail, {})
        if kinds.class_token_for(TAILS.get(tail), settings) and KINDS[kind][1] in ("map", "") and kind != "pe":
            with pytest.raises(InputError, match=f"has no class token, which {tail} reads.*GEM, .*LastBlock"):
                build(kind, settings)
            continue
        dense = build(kind, settings)
        scores = dense.score(pictures(2, 32, 24), words())
        assert scores.isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cast_tower_is_near_itself(kind, precision, pictures):
    image = pictures(1, 32, 24)
    full, half = (
        build(kind, dict(type="LastBlock", attention="csa")),
        build(kind, dict(type="LastBlock", attention="csa")),
    )
    half.set_precision(precision)
    assert half.tower.dtype == half.dtype
    trace = half.trace(image)
    assert {state.dtype for state in trace.states.values()} == {half.dtype}
    cosine = F.cosine_similarity(full(image), half(image).float(), dim=1)
    assert cosine.min() > (0.98 if precision == "bf16" else 0.999)
    tokens = sweep.made_prompts(half.clip, "")
    assert F.cosine_similarity(full.clip.encode_text(tokens), half.clip.encode_text(tokens).float()).min() > 0.98


def test_what_a_tail_needs_is_refused_before_anything_is_built(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was built")

    build("siglip")
    monkeypatch.setattr(open_clip, "create_model", refuse)
    monkeypatch.setattr(TAILS, "build", refuse)
    with pytest.raises(InputError) as caught:
        build("siglip", dict(type="SCCLIP"))
    assert "class_weight=0.3" in str(caught.value)
    with pytest.raises(AssertionError, match="something was built"):
        build("siglip", dict(type="SCCLIP", class_weight=0.0))


def test_a_timm_tower_is_outlined_without_numbers():
    with tiny_timm("pe"):
        found = outline("PE-Core-B-16")
    assert (found.kind, found.depth, found.prefix, found.pooling) == ("timm EVA", 3, 1, "attention")
    kinds._outline.cache_clear()


@pytest.mark.parametrize("arch", ["MobileCLIP2-B", "coca_ViT-B-32", "ViT-L-14-CLIPA", "ViT-H-14-worldwide"])
def test_a_tower_at_one_block_is_read_as_it_reads_itself(arch):
    assert sweep.row_of(arch)[1] == "yes"
